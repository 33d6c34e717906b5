//! Lists: selectors, pages, versions.

use super::*;
use kube::api::ListParams;

async fn selected(client: &SimClient, labels: &str) -> Vec<String> {
    names(secrets(client).list(&ListParams::default().labels(labels)).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn label_selectors() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[("tier", "gold"), ("app", "x")]).await;
    create(&client, "b", &[("tier", "tin")]).await;
    create(&client, "c", &[("app", "")]).await;
    for (selector, expected) in [
        ("", vec!["a", "b", "c"]),
        ("tier=gold", vec!["a"]),
        ("tier==gold", vec!["a"]),
        ("tier!=gold", vec!["b", "c"]),
        ("tier", vec!["a", "b"]),
        ("!tier", vec!["c"]),
        ("tier in (gold, tin)", vec!["a", "b"]),
        ("tier notin (gold,iron),app", vec!["c"]),
        ("tier in (gold,tin),app=x", vec!["a"]),
        ("app=", vec!["c"]),
    ] {
        assert_eq!(selected(&client, selector).await, expected, "{selector}");
    }
    let nonsense = secrets(&client).list(&ListParams::default().labels("tier in gold")).await;
    assert_eq!(refusal(nonsense).0, 400);
}

#[tokio::test(start_paused = true)]
async fn field_selectors() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    create(&client, "b", &[]).await;
    let list = |fields: &str| {
        let (api, params) = (secrets(&client), ListParams::default().fields(fields));
        async move { api.list(&params).await }
    };
    assert_eq!(names(list("metadata.name=b").await.unwrap()), ["b"]);
    assert_eq!(names(list("metadata.name!=b,type=Opaque").await.unwrap()), ["a"]);
    assert_eq!(refusal(list("data.key=x").await).0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_list_in_pages_is_a_snapshot() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    for name in ["a", "b", "c"] {
        create(&client, name, &[]).await;
    }
    let first = secrets(&client).list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(1)));
    create(&client, "d", &[]).await;
    let next = ListParams::default().limit(2).continue_token(&first.metadata.continue_.unwrap());
    let second = secrets(&client).list(&next).await.unwrap();
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!((names(second.items), second.metadata.continue_), (vec!["c".into()], None));

    server.compact();
    assert_eq!(refusal(secrets(&client).list(&next).await), (410, "Expired".into()));
}

#[tokio::test(start_paused = true)]
async fn lists_bear_types_and_the_version_of_the_whole_store() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    connections(&client).create(&PUT, &connection("acme", json!({}))).await.unwrap();
    let list = secrets(&client).list(&ListParams::default()).await.unwrap();
    assert_eq!(list.metadata.resource_version, Some(server.resource_version().to_string()));
    assert_eq!(list.types.kind, "SecretList");
    let list = connections(&client).list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].types.as_ref().unwrap().kind, "PleoConnection");
    let secret = ApiResource::erase::<Secret>(&());
    let untyped: Api<DynamicObject> = Api::all_with(client.kube(), &secret);
    let list = untyped.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].types, None, "as the real one: built-in types have none in a list");
    let future = ListParams::default().at("99").matching(kube::api::VersionMatch::NotOlderThan);
    assert_eq!(refusal(untyped.list(&future).await).0, 504);
    assert!(pods(&client).list(&ListParams::default()).await.unwrap().items.is_empty());
}
