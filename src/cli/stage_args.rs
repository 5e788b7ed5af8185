//! What the commands that are stages have in common.

use clap::Args;

/// Output and parameters of a command.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Common {
    /// What to write.
    #[arg(long, short, value_name = "PATH")]
    pub(super) out: String,
    /// The parameter file, or a section of it.
    #[arg(long, value_name = "FILE[:KEY]", default_value = DEFAULT_PARAMS)]
    pub(super) params: String,
    /// Override one parameter; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// The parameter file of a project.
pub(super) const DEFAULT_PARAMS: &str = "params.yaml";

/// The arguments of a command that reads a data set.
#[derive(Debug, Args)]
pub(super) struct OfDataset {
    /// The folder of a data set.
    dataset: String,
    #[command(flatten)]
    common: Common,
}

impl OfDataset {
    pub(super) fn request(self, verb: Verb) -> Request {
        Request {
            verb,
            inputs: vec![self.dataset],
            data: None,
            warm_start: None,
            offline: false,
            common: self.common,
        }
    }
}

/// The arguments of a command that reads a model and a data set.
#[derive(Debug, Args)]
pub(super) struct OfModel {
    /// The folder of a model.
    model: String,
    /// The folder of a data set.
    #[arg(long, value_name = "DATASET")]
    data: String,
    #[command(flatten)]
    common: Common,
}

impl OfModel {
    pub(super) fn request(self, verb: Verb) -> Request {
        Request {
            verb,
            inputs: vec![self.model],
            data: Some(self.data),
            warm_start: None,
            offline: false,
            common: self.common,
        }
    }
}

/// The commands that are stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Fetch,
    Prepare,
    Train,
    Tune,
    Evaluate,
    Predict,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Prepare => "prepare",
            Self::Train => "train",
            Self::Tune => "tune",
            Self::Evaluate => "evaluate",
            Self::Predict => "predict",
        }
    }

    /// The sections of a parameter file that it reads.
    pub(super) fn sections(self) -> &'static [&'static str] {
        match self {
            Self::Fetch => &["sources"],
            Self::Prepare => &["prepare"],
            Self::Train => &["model", "train"],
            Self::Tune => &["model", "train", "tune"],
            Self::Evaluate => &["evaluate"],
            Self::Predict => &["predict"],
        }
    }
}

/// A command that is a stage, in the one form that its key sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) verb: Verb,
    /// Positional: paths, or the name of a source.
    pub(super) inputs: Vec<String>,
    pub(super) data: Option<String>,
    /// A model whose weights a training begins with.
    pub(super) warm_start: Option<String>,
    /// No word of the command, and so no part of its key.
    pub(super) offline: bool,
    pub(super) common: Common,
}

impl Request {
    /// The words of the command, always in the same order.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["krammerti".to_owned(), self.verb.name().to_owned()];
        let inputs = self.inputs.iter().map(|input| match self.verb {
            Verb::Fetch => input.clone(),
            _ if reads_as_option(input) => format!("./{input}"),
            _ => input.clone(),
        });
        words.extend(inputs);
        if let Some(data) = &self.data {
            words.extend(option("--data", data));
        }
        if let Some(model) = &self.warm_start {
            words.extend(option("--warm-start", model));
        }
        words.extend(option("--out", &self.common.out));
        if self.common.params != DEFAULT_PARAMS {
            words.extend(option("--params", &self.common.params));
        }
        for assignment in &self.common.set {
            words.extend(["--set".to_owned(), assignment.clone()]);
        }
        words
    }

    /// The assignments of `--set` in sections that it does not read.
    pub(super) fn idle_assignments(&self) -> impl Iterator<Item = &str> {
        let all = self.common.set.iter().map(String::as_str);
        all.filter(|assignment| {
            let mut path = assignment.split('=').next().unwrap_or_default().split('.');
            let section = path.next().unwrap_or_default();
            let of_source = match (self.verb, path.next()) {
                (Verb::Fetch, Some(source)) => self.inputs.iter().any(|name| name == source.trim()),
                _ => true,
            };
            !of_source || !self.verb.sections().contains(&section.trim())
        })
    }

    /// The same request with every path passed through `place`.
    pub(super) fn map_paths(
        mut self,
        place: impl Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        if self.verb != Verb::Fetch {
            self.inputs = self
                .inputs
                .iter()
                .map(|path| place(path))
                .collect::<Result<_, _>>()?;
        }
        self.data = self.data.as_deref().map(&place).transpose()?;
        self.warm_start = self.warm_start.as_deref().map(&place).transpose()?;
        self.common.out = place(&self.common.out)?;
        // The default is the project's, wherever in it one stands.
        if self.common.params != DEFAULT_PARAMS {
            self.common.params = place(&self.common.params)?;
        }
        Ok(self)
    }
}

/// Whether a path stands for an option where it is a word of its own.
fn reads_as_option(path: &str) -> bool {
    path.starts_with('-') && path != "-"
}

/// An option and its path in two words, as keys have had them ever since, but where the second one would read as
/// an option.
fn option(name: &str, path: &str) -> Vec<String> {
    if reads_as_option(path) {
        vec![format!("{name}={path}")]
    } else {
        vec![name.to_owned(), path.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_request;
    use super::*;

    fn request(verb: Verb, path: impl Fn(&str) -> String) -> Request {
        Request {
            verb,
            inputs: vec![path("in")],
            data: (verb == Verb::Evaluate).then(|| path("data")),
            warm_start: (verb == Verb::Train).then(|| path("before")),
            offline: false,
            common: Common {
                out: path("out"),
                params: path("p.yaml"),
                set: vec!["train.seed=1".to_owned()],
            },
        }
    }

    #[test]
    fn words_are_read_as_they_were_meant() {
        let plain = |path: &str| Ok(path.strip_prefix("./").unwrap_or(path).to_owned());
        for start in ["", "-", "--", "--out="] {
            for verb in [Verb::Prepare, Verb::Train, Verb::Evaluate] {
                let meant = request(verb, |path| format!("{start}{path}"));
                let read = parse_request(&meant.words()).unwrap();
                let words = read.words();
                assert_eq!(read.map_paths(plain).unwrap(), meant);
                assert_eq!(words, meant.words(), "one form only");
            }
        }
        let plain = request(Verb::Evaluate, str::to_owned).words().join(" ");
        let expected =
            "krammerti evaluate in --data data --out out --params p.yaml --set train.seed=1";
        assert_eq!(plain, expected);
    }
}
