//! Who may talk to a testbed, and with which file: the users' tokens, and kubeconfigs.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::error::{Error, file};

/// The users whom the API server knows, both cluster administrators: the testbed itself, whose requests are not
/// counted, and the one whom tests and people are.
pub(crate) struct Access {
    folder: PathBuf,
    admin: String,
    admin_file: PathBuf,
    own: String,
}

impl Access {
    /// Makes the tokens, and the file of them for the API server.
    pub(crate) fn create(folder: &Path) -> Result<Self, Error> {
        let access =
            Self { folder: folder.into(), admin: random()?, admin_file: folder.join("kubeconfig"), own: random()? };
        let tokens =
            format!("{},admin,admin,system:masters\n{},testbed,testbed,system:masters\n", access.admin, access.own);
        write_private(&access.token_file(), &tokens)?;
        fs::create_dir_all(access.certificate_folder()).map_err(file("make the folder", folder))?;
        Ok(access)
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// Where the API server makes its own certificate and key, as `apiserver.crt` and `apiserver.key`.
    pub(crate) fn certificate_folder(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// The kubeconfig of the administrator.
    pub(crate) fn admin(&self) -> &Path {
        &self.admin_file
    }

    /// The kubeconfig of the testbed itself.
    pub(crate) fn own(&self) -> PathBuf {
        self.folder.join("kubeconfig-testbed")
    }

    /// Writes the kubeconfigs of both users, for an API server on that port.
    pub(crate) fn write(&self, port: u16) -> Result<(), Error> {
        self.kubeconfig(&self.own(), port, &json!({ "token": self.own }))?;
        self.kubeconfig(self.admin(), port, &json!({ "token": self.admin }))
    }

    /// Writes the kubeconfig of any other user: the administrator takes on the name, so it may be a new one at
    /// any time, and the API server gives the request the rights of that user alone.
    pub(crate) fn write_for(&self, port: u16, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let path = self.folder.join(format!("kubeconfig-{}", random()?));
        let who = json!({ "token": self.admin, "as": user, "as-groups": groups });
        self.kubeconfig(&path, port, &who)?;
        Ok(path)
    }

    /// Writes a kubeconfig of the holder of a token.
    pub(crate) fn write_with_token(&self, port: u16, token: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(format!("kubeconfig-{}", random()?));
        self.kubeconfig(&path, port, &json!({ "token": token }))?;
        Ok(path)
    }

    fn kubeconfig(&self, path: &Path, port: u16, user: &Value) -> Result<(), Error> {
        // The API server's file holds the certificate and the authority that it made for it.
        let authority = self.certificate_folder().join("apiserver.crt");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "testbed" } }],
            "clusters": [{ "name": "testbed", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": authority,
            } }],
            "users": [{ "name": "testbed", "user": user }],
        });
        // JSON is YAML, too.
        write_private(path, &format!("{config:#}\n"))
    }
}

/// 32 hexadecimal digits that nobody can guess.
pub(crate) fn random() -> Result<String, Error> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [0; 16];
    File::open(SOURCE).and_then(|mut source| source.read_exact(&mut bytes)).map_err(file("read", SOURCE))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(file("write", path))
}
