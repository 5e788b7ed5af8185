//! Tells the pipeline what krammerti's own subcommands read and write.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Result, bail};
use serde_json::Value;

use super::parse_request;
use super::stage_args::{DEFAULT_PARAMS, Request, Verb};
use crate::fs;
use crate::ops::NoSource;
use crate::params::{Params, ParamsFile, Values};
use crate::pipeline::{Commands, Declared, ProjectPath};
use crate::source;

/// The subcommands of a project, with its parameter files read once each.
pub(super) struct Subcommands {
    root: PathBuf,
    read: RefCell<BTreeMap<Spec, Rc<Loaded>>>,
    values: RefCell<BTreeMap<String, Rc<Values>>>,
    texts: RefCell<BTreeMap<String, Option<String>>>,
}

/// `--params` and all `--set`.
type Spec = (String, Vec<String>);

/// `--params` names a file that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter file {0} does not exist")]
pub(super) struct NoParamsFile(String);

/// A parameter file, as written and checked.
pub(super) struct Loaded {
    pub(super) file: ParamsFile,
    pub(super) params: Params,
}

impl Subcommands {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            read: RefCell::default(),
            values: RefCell::default(),
            texts: RefCell::default(),
        }
    }

    /// The text of a parameter file, read once.
    fn text(&self, path: &str) -> Result<Option<String>> {
        if let Some(text) = self.texts.borrow().get(path) {
            return Ok(text.clone());
        }
        let text = fs::read_if_exists(&self.root.join(path))?;
        self.texts
            .borrow_mut()
            .insert(path.to_owned(), text.clone());
        Ok(text)
    }

    /// The parameter files as they were when they were read, by path.
    pub(super) fn into_texts(self) -> BTreeMap<String, Option<String>> {
        self.texts.into_inner()
    }

    /// Any YAML or JSON file of the project, for stages that are no subcommands.
    fn values(&self, path: &str) -> Result<Rc<Values>> {
        if let Some(values) = self.values.borrow().get(path) {
            return Ok(Rc::clone(values));
        }
        let Some(text) = self.text(path)? else {
            bail!(NoParamsFile(path.to_owned()));
        };
        let values = Rc::new(Values::parse(Path::new(path), &text)?);
        self.values
            .borrow_mut()
            .insert(path.to_owned(), Rc::clone(&values));
        Ok(values)
    }

    /// Reads `--params FILE[:KEY]` with the overrides of `--set`. A project without the default
    /// file has default parameters.
    pub(super) fn load(&self, spec: &str, set: &[String]) -> Result<Rc<Loaded>> {
        let id = (spec.to_owned(), set.to_vec());
        if let Some(loaded) = self.read.borrow().get(&id) {
            return Ok(Rc::clone(loaded));
        }
        let (path, key) = match spec.split_once(':') {
            Some((path, key)) => (path, Some(key)),
            None => (spec, None),
        };
        let text = match self.text(path)? {
            Some(text) => text,
            None if spec == DEFAULT_PARAMS => String::new(),
            None => bail!(NoParamsFile(path.to_owned())),
        };
        let (file, params) = ParamsFile::parse(Path::new(path), &text, key, set)?;
        let loaded = Rc::new(Loaded { file, params });
        self.read.borrow_mut().insert(id, Rc::clone(&loaded));
        Ok(loaded)
    }

    /// The files of the project that sources read, each with the name of its source.
    pub(super) fn source_files(&self, request: &Request) -> Result<Vec<(String, String)>> {
        let loaded = self.load(&request.common.params, &request.common.set)?;
        let mut files = Vec::new();
        for (name, params) in &loaded.params.sources {
            let source = source::source(params);
            let mut paths = source.inputs();
            for pattern in source.patterns() {
                paths.extend(self.glob(&pattern)?);
            }
            files.extend(paths.into_iter().map(|path| (name.clone(), path)));
        }
        Ok(files)
    }

    /// What a request reads and writes.
    pub(super) fn declare_request(&self, request: &Request) -> Result<Declared> {
        let loaded = self.load(&request.common.params, &request.common.set)?;
        let mut inputs = Vec::new();
        let sections: Vec<String> = match request.verb {
            Verb::Fetch => {
                let name = request.inputs.first().cloned().unwrap_or_default();
                let Some(params) = loaded.params.sources.get(&name) else {
                    bail!(NoSource {
                        name,
                        there: loaded.params.sources.keys().cloned().collect()
                    });
                };
                let source = source::source(params);
                inputs.extend(source.inputs());
                for pattern in source.patterns() {
                    inputs.extend(self.glob(&pattern)?);
                }
                vec![format!("sources.{name}")]
            }
            verb => verb.sections().iter().map(ToString::to_string).collect(),
        };
        if request.verb != Verb::Fetch {
            inputs.extend(request.inputs.iter().cloned());
            inputs.extend(request.data.clone());
            inputs.extend(request.warm_start.clone());
        }
        let params = sections
            .iter()
            .flat_map(|section| named(&loaded.file, section))
            .collect();
        Ok(Declared {
            words: request.words(),
            inputs,
            outputs: vec![request.common.out.clone()],
            params,
        })
    }
}

impl Commands for Subcommands {
    fn is_file(&self, path: &ProjectPath) -> bool {
        let metadata = fs::stat(&path.in_root(&self.root));
        metadata.is_ok_and(|metadata| metadata.is_some_and(|metadata| metadata.is_file()))
    }

    fn inside(&self, path: ProjectPath) -> ProjectPath {
        match self.root.to_str() {
            Some(root) => path.inside(root),
            None => path,
        }
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>> {
        Ok(fs::glob(&self.root, pattern)?)
    }

    fn declare(&self, words: &[String], wdir: Option<&ProjectPath>) -> Result<Declared> {
        let plain = |path: &str| {
            let path = ProjectPath::within(wdir, path)?;
            Ok(self.inside(path).to_string())
        };
        self.declare_request(&parse_request(words)?.map_paths(plain)?)
    }

    fn params(&self, file: Option<&str>, path: Option<&str>) -> Result<BTreeMap<String, String>> {
        let file = file.unwrap_or(DEFAULT_PARAMS);
        let leaves = self.values(file)?.leaves(path);
        let name = |path: String| match path.as_str() {
            "" => file.to_owned(),
            path => format!("{file}:{path}"),
        };
        Ok(leaves
            .into_iter()
            .map(|(path, value)| (name(path), value))
            .collect())
    }

    fn value(&self, path: &str) -> Result<Option<Value>> {
        Ok(self.values(DEFAULT_PARAMS)?.get(path).cloned())
    }
}

/// The leaves of a section under `FILE:path`.
fn named(file: &ParamsFile, section: &str) -> impl Iterator<Item = (String, String)> {
    let place = file.path().display().to_string();
    file.leaves(section)
        .into_iter()
        .map(move |(path, value)| (format!("{place}:{path}"), value))
}
