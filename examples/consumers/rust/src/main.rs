//! Calls an API every second with the token of a `PleoConnection`, and shows the result. It never prints a token.
//!
//! `PLEO_API_URL` is what to call, `PLEO_TOKEN_DIR` where the token Secret is mounted (/var/run/pleo), `PLEO_REPORT_URL`
//! where a token that the API rejects is reported, and `SSL_CERT_FILE` a CA to trust in place of the system's.

mod pleo;

use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use pleo::{Error, Pleo};
use ureq::http::Request;

fn main() -> ExitCode {
    let Ok(url) = env::var("PLEO_API_URL") else {
        eprintln!("set PLEO_API_URL to what is to be called");
        return ExitCode::FAILURE;
    };
    let folder = env::var_os("PLEO_TOKEN_DIR").unwrap_or_else(|| "/var/run/pleo".into());
    let pleo = Pleo::new(folder.into(), || println!("401: refused; waiting for another token"))
        .reporting_to(env::var("PLEO_REPORT_URL").ok());
    loop {
        match call(&pleo, &url) {
            Ok(line) => println!("{line}"),
            // This program ends, so that you see it. A server would answer 503 and go on looking.
            Err(error @ Error::ReauthRequired(_)) => {
                eprintln!("pleo: {error}");
                return ExitCode::FAILURE;
            }
            Err(error) => println!("{error}"),
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Gives the status and the answer.
fn call(pleo: &Pleo, url: &str) -> Result<String, Error> {
    let request = Request::get(url).body(()).map_err(|error| Error::Http(error.into()))?;
    let mut response = pleo.call(&request)?;
    let body = response.body_mut().read_to_string().map_err(Error::Http)?;
    Ok(format!("{} {body}", response.status().as_u16()))
}
