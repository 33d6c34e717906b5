//! Who did what, when: one line each, in the order in which it happened. The operators' own log is part of it.

use std::{
    fmt::Display,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// The transcript of one seed. Clones write into the same.
#[derive(Clone, Default)]
pub struct Transcript(Arc<Mutex<Page>>);

#[derive(Default)]
struct Page {
    now: Duration,
    who: String,
    text: String,
}

impl Transcript {
    /// From now on this one acts, at this time.
    pub fn turn(&self, now: Duration, who: &str) {
        let page = &mut *self.0.lock().unwrap();
        page.now = now;
        who.clone_into(&mut page.who);
    }

    pub fn note(&self, now: Duration, who: &str, what: impl Display) {
        self.turn(now, who);
        self.0.lock().unwrap().line(&what.to_string());
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().text.clone()
    }
}

impl Page {
    fn line(&mut self, what: &str) {
        let at = self.now.as_secs_f64();
        self.text.push_str(&format!("{at:>10.3} {:<7} {}\n", self.who, what.trim_end()));
    }
}

/// Log lines come here whole.
impl<'a> MakeWriter<'a> for Transcript {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().line(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
