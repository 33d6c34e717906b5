//! Reads the token folder: a mounted Secret, which the kubelet replaces by swapping a symbolic link, or a plain folder that another
//! program writes. What is read belongs together.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use crate::{
    api::names::token_secret,
    domain::{
        ledger::record::Data,
        snapshot::published::{Content, KEYS},
    },
};

/// What the kubelet swaps.
const LINK: &str = "..data";
/// How often a folder that changes while it is read is read.
const MOST_READS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// No file is longer, in bytes.
const MAX_FILE: u64 = 128 * 1024;

/// Which state of the folder was read: where its link led. A plain folder has none, and is always read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(PathBuf);

/// Where the link of a folder leads now; none: it is a plain folder, or not there.
pub fn version(folder: &Path) -> Option<Version> {
    fs::read_link(folder.join(LINK)).ok().map(Version)
}

/// Why there is nothing to be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it has no file `state`: is the token Secret mounted there?")]
    Missing,
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    #[error("it is not what the operator writes: mount the whole token Secret, not single files of it")]
    Foreign,
    #[error("its file system does not answer")]
    Hanging,
    #[error("it changes all the time")]
    Unstable,
}

/// What the folder holds.
///
/// # Errors
/// If it is not there, or not what the operator writes.
pub fn read(folder: &Path) -> Result<(Content, Option<Version>), Unreadable> {
    let mut last = Unreadable::Unstable;
    for _ in 0..MOST_READS {
        let before = version(folder);
        let place = before.as_ref().map_or_else(|| folder.to_owned(), |version| folder.join(&version.0));
        match files(&place) {
            Ok(data) => {
                // In a plain folder, files change one by one.
                let is_whole = match &before {
                    Some(_) => version(folder) == before,
                    None => version(folder).is_none() && files(&place).is_ok_and(|again| again == data),
                };
                if is_whole {
                    return decode(data).map(|content| (content, before));
                }
            }
            Err(error) => last = Unreadable::Io(error),
        }
        sleep(PAUSE);
    }
    Err(last)
}

fn decode(data: Data) -> Result<Content, Unreadable> {
    if !data.contains_key(token_secret::STATE) {
        return Err(Unreadable::Missing);
    }
    let content = Content::decode(data).ok_or(Unreadable::Foreign)?;
    // A file that is being written.
    let is_empty = content.access.as_ref().is_some_and(|access| access.token.expose().is_empty());
    if is_empty { Err(Unreadable::Foreign) } else { Ok(content) }
}

fn files(place: &Path) -> io::Result<Data> {
    let mut data = Data::new();
    for key in KEYS {
        match fs::File::open(place.join(key)) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(MAX_FILE).read_to_end(&mut bytes)?;
                data.insert(key.to_owned(), bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(data)
}
