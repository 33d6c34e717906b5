//! Container images without a registry or a builder: one layer of a few files, as an archive that containerd imports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use serde_json::json;
use tar::{EntryType, Header};

use crate::error::{Error, file};

/// An image in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct Image {
    name: String,
    files: Vec<(PathBuf, String)>,
    links: Vec<(String, String)>,
    entrypoint: Vec<String>,
    user: String,
}

impl Image {
    /// An image of that name and tag, such as `localhost/consumer:1`.
    pub fn new(name: &str, entrypoint: &[&str]) -> Self {
        let entrypoint = entrypoint.iter().map(|word| (*word).to_owned()).collect();
        Self { name: name.to_owned(), files: Vec::new(), links: Vec::new(), entrypoint, user: "65532:65532".to_owned() }
    }

    /// The name that pods call it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a file, at a path without a leading slash. It can be read and run by everybody.
    pub fn file(mut self, source: impl Into<PathBuf>, path: &str) -> Self {
        self.files.push((source.into(), path.to_owned()));
        self
    }

    /// Adds a link.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.links.push((path.to_owned(), target.to_owned()));
        self
    }

    /// The archive.
    pub(crate) fn archive(&self) -> Result<Vec<u8>, Error> {
        let layer = self.layer()?;
        let digest: String = digest(&SHA256, &layer).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "Env": ["PATH=/bin"], "User": self.user },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"] }]);
        let mut archive = tar::Builder::new(Vec::new());
        let files = [
            ("layer.tar", layer),
            ("config.json", config.to_string().into()),
            ("manifest.json", manifest.to_string().into()),
        ];
        for (name, content) in files {
            append(&mut archive, name, &content, 0o644)?;
        }
        archive.into_inner().map_err(file("make the image", &self.name))
    }

    fn layer(&self) -> Result<Vec<u8>, Error> {
        let mut layer = tar::Builder::new(Vec::new());
        for (source, path) in &self.files {
            let content = fs::read(source).map_err(file("read", source))?;
            append(&mut layer, path, &content, 0o755)?;
        }
        for (path, target) in &self.links {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            layer.append_link(&mut header, path, target).map_err(file("add to an image", path))?;
        }
        layer.into_inner().map_err(file("make the image", &self.name))
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, Path::new(path), content).map_err(file("add to an image", path))
}
