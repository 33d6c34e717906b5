//! The data of a token Secret, which anybody may have edited: what can be read is written in the same way, and whatever
//! stands there is put right in one write.

use std::collections::BTreeMap;

use pleo_operator::{
    api::names::token_secret,
    domain::{
        plan::{decide::Decision, projection},
        snapshot::{TokenSecret, Versioned, published::Published},
    },
};

use super::{
    scenes::{Scene, UID},
    support::judge,
    support::text::{leaks, parts},
};

const KEYS: [&str; 6] = [
    token_secret::ACCESS_TOKEN,
    token_secret::TOKEN_TYPE,
    token_secret::EXPIRES_AT,
    token_secret::REFRESH_AT,
    token_secret::ROTATION,
    token_secret::STATE,
];

/// The data in parts.
pub fn run(bytes: &[u8]) -> &'static str {
    let data = parts(bytes);
    let read = |data| Published::read(data, BTreeMap::new(), BTreeMap::new(), Some(UID.to_owned()));
    let published = read(data.clone());
    let others: Vec<&String> = data.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
    assert_eq!(published.unknown_keys.iter().collect::<Vec<_>>(), others);
    let copied = data
        .iter()
        .any(|(key, value)| leaks(key) || key != token_secret::ACCESS_TOKEN && leaks(&String::from_utf8_lossy(value)));
    assert!(copied || !leaks(&format!("{published:?}")), "no token shows");
    if let Some(content) = &published.content {
        let again = content.encode();
        assert_eq!(again.get(token_secret::ACCESS_TOKEN), data.get(token_secret::ACCESS_TOKEN), "exactly as it stood");
        assert_eq!(read(again).content.as_ref(), Some(content), "what was written is read again");
    }
    let verdict = if published.content.is_some() { "read" } else { "edited" };
    is_put_right(published);
    verdict
}

fn is_put_right(published: Published) {
    let mut scene = Scene::living();
    scene.snapshot.token = TokenSecret::Ours(Versioned { value: published, version: "edited".into() });
    judge::whatever_the_time(&scene);
    let end = scene.rest();
    let TokenSecret::Ours(published) = &scene.snapshot.token else { panic!("the Secret is gone") };
    let desired = projection::desired(&scene.snapshot, scene.now).expect("a living grant");
    assert!(projection::is_intact(&published.value, &desired, &scene.snapshot.spec), "{published:?}, then {end:?}");
    let writes = scene.done.iter().filter(|done| **done == "publish").count();
    assert!(writes <= 1 && matches!(end, Decision::Wait(_)), "{:?}, then {end:?}", scene.done);
}
