//! Several clients at the same time: of those who build on the same version, exactly one wins.

use serde_json::json;

use crate::support::{
    kinds::{ALL, LEASE, POD, SECRET, with},
    server::{same_on_both, version_of},
};

const ROUNDS: usize = 20;

#[tokio::test]
async fn of_two_that_take_a_lease_one_has_it() {
    same_on_both(async |server| {
        let mut lease = server.create(LEASE, &LEASE.named("a")).await.is("201");
        for round in 0..ROUNDS {
            let taken =
                ["a", "b"].map(|holder| with(&lease, "/spec/holderIdentity", json!(format!("{holder}{round}"))));
            assert_eq!(server.put_at_once(LEASE, &taken).await, [200, 409]);
            lease = server.unseen(LEASE, "a").await;
            assert!(taken.iter().any(|taken| taken["spec"] == lease["spec"]));
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_that_make_the_same_object_one_does() {
    same_on_both(async |server| {
        for kind in ALL {
            for round in 0..ROUNDS / 4 {
                let both = [kind.named(&format!("a{round}")), kind.named(&format!("a{round}"))];
                assert_eq!(server.create_at_once(kind, &both).await, [201, 409]);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn of_four_patches_of_one_version_one_is_applied() {
    same_on_both(async |server| {
        let mut secret = server.create(SECRET, &SECRET.named("a")).await.is("201");
        for round in 0..ROUNDS {
            let patch = |by| {
                let labels = json!({"by": format!("{round}-{by}")});
                json!({"metadata": {"resourceVersion": version_of(&secret), "labels": labels}})
            };
            let patches = [patch(0), patch(1), patch(2), patch(3)];
            assert_eq!(server.patch_at_once(SECRET, "a", &patches).await, [200, 409, 409, 409]);
            secret = server.unseen(SECRET, "a").await;
        }
    })
    .await;
}

/// Nobody's patch is lost where none names a version.
#[tokio::test]
async fn patches_of_any_version_are_all_applied() {
    same_on_both(async |server| {
        server.create(POD, &POD.named("a")).await.is("201");
        let patches: Vec<_> =
            (0..4).map(|by| json!({"metadata": {"annotations": {format!("by-{by}"): "told"}}})).collect();
        assert_eq!(server.patch_at_once(POD, "a", &patches).await, [200; 4]);
        let told = server.unseen(POD, "a").await;
        assert_eq!(told["metadata"]["annotations"].as_object().map(serde_json::Map::len), Some(4));
    })
    .await;
}
