//! Where observations come from. One file a kind; each gives a [`Table`] or says what is wrong and where.

mod file;
mod history;
mod http;
mod noaa_co2;
mod open_meteo;
mod percent;
mod pool;
mod records;
mod responses;
mod secret;
mod stored;
mod times;

use std::iter::Sum;
use std::ops::AddAssign;
use std::path::Path;

use crate::data::{SeriesError, Table};
use crate::params::SourceParams;

/// A configured source.
pub trait Source {
    /// The files of the project that it reads, which are inputs of the stage that fetches from it.
    fn inputs(&self) -> Vec<String>;

    /// Patterns of further files that it reads: all that match one are inputs too.
    fn patterns(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gets all observations there are.
    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError>;
}

/// What a source works with.
pub struct Asked<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// Whether only what is stored may be used.
    pub offline: bool,
    /// Hears of requests done, requests in all, and rows so far.
    pub progress: &'a mut dyn FnMut(usize, usize, usize),
}

/// The first two bytes of what gzip packed.
const GZIPPED: &[u8] = &[0x1f, 0x8b];

/// More requests than this are a mistake, such as ranges of a second since the year 1.
const MOST_REQUESTS: i64 = 100_000;

/// What a source gave.
#[derive(Debug)]
pub struct Fetched {
    /// All observations.
    pub table: Table,
    /// What is new since the last time; none for a source that does not know.
    pub news: Option<News>,
    /// What a person should know of them, a line each.
    pub warnings: Vec<String>,
}

impl Fetched {
    /// Observations of which there is nothing more to say.
    pub(crate) fn of(table: Table, news: Option<News>) -> Self {
        Self {
            table,
            news,
            warnings: Vec::new(),
        }
    }
}

/// Rows that differ from what was stored before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Rows that were not there.
    pub new: usize,
    /// Rows with other values.
    pub corrected: usize,
}

impl AddAssign for News {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.corrected += more.corrected;
    }
}

impl Sum for News {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, news| {
            sum += news;
            sum
        })
    }
}

/// Rows that a server gave before and gives no longer: no error, but nothing to pass over either.
fn gone_rows(gone: usize) -> Option<String> {
    (gone > 0).then(|| format!("{gone} rows that were there before are no longer"))
}

/// Refuses what would ask a server for ever.
fn check_requests(requests: i64, remedy: &'static str) -> Result<(), SourceError> {
    if requests > MOST_REQUESTS {
        return Err(SourceError::TooMany { requests, remedy });
    }
    Ok(())
}

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A row cannot be used.
    #[error("{file}, line {line}: {message}")]
    Row {
        /// The file.
        file: String,
        /// From 1, the header included.
        line: u64,
        /// What was expected and found.
        message: String,
    },
    /// The file as a whole cannot be used.
    #[error("{file}: {message}")]
    File {
        /// The file.
        file: String,
        /// What was expected and found.
        message: String,
    },
    /// A server gave no answer, or none that can be used. The URL never holds a token.
    #[error("{url}: {message}")]
    Http {
        /// What was asked.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// Nothing can be asked by https.
    #[error("https cannot be asked: {message}")]
    NoTls {
        /// Why not.
        message: String,
    },
    /// Offline, and the answer is not stored.
    #[error("no stored answer for {url}")]
    NotStored {
        /// What would have been asked.
        url: String,
    },
    /// The token is not where the parameters say.
    #[error("no token in {place}")]
    NoToken {
        /// Where it should be.
        place: String,
    },
    /// The token cannot stand in a header. It is not told.
    #[error("the token has a character that no header may have")]
    BadToken,
    /// A header of the parameters cannot be sent. Its value is not told.
    #[error("the header {name} or its value has a character that no header may have")]
    BadHeader {
        /// Its name.
        name: String,
    },
    /// So many requests are a mistake in the parameters.
    #[error("{requests} requests, expected at most {MOST_REQUESTS}; {remedy} makes them fewer")]
    TooMany {
        /// How many it would take.
        requests: i64,
        /// What to change.
        remedy: &'static str,
    },
    /// The rows do not make a table.
    #[error("{file}: {source}")]
    Table {
        /// The file.
        file: String,
        /// Why.
        source: SeriesError,
    },
}

/// The source that parameters describe.
pub fn source(params: &SourceParams) -> Box<dyn Source + '_> {
    match params {
        SourceParams::File(params) => Box::new(file::File { params }),
        SourceParams::NoaaCo2(params) => Box::new(noaa_co2::NoaaCo2 { params }),
        SourceParams::Http(params) => Box::new(history::History { params }),
        SourceParams::OpenMeteo(params) => Box::new(open_meteo::OpenMeteo { params }),
    }
}
