//! What every [`Store`] must do, as one check that each implementation's tests call.

use std::sync::Arc;

use serde_json::json;

use super::{Condition, Conflict, Key, Partition, Revision, Store, Stored, Write, WriteError};
use crate::{id::TenantId, random::OsRandomness, scope::TenantScope};

/// Checks a store against the contract; it may hold other items already.
///
/// # Panics
///
/// When the store breaks the contract.
pub async fn check(store: &dyn Store) {
    conditions_decide(store).await;
    transactions_are_all_or_nothing(store).await;
    newer_wins_in_any_order(store).await;
    queries_page_in_order(store).await;
    tenants_do_not_meet(store).await;
    contents_come_back_as_they_were(store).await;
}

fn scope() -> TenantScope {
    TenantScope::of(TenantId::generate(&OsRandomness))
}

fn partition() -> Partition {
    scope().partition(&["contract"])
}

fn put(key: &Key, value: i64, condition: Condition) -> Write {
    Write::put(key.clone(), &json!({ "value": value }), condition)
}

async fn read(store: &dyn Store, key: &Key) -> Option<(i64, Revision)> {
    let stored = store.get(key).await.expect("the store answers")?;
    Some((
        stored.body["value"].as_i64().expect("the value that was put"),
        stored.revision,
    ))
}

async fn conflict(store: &dyn Store, writes: &[Write]) -> Conflict {
    match store.write(writes).await {
        Err(WriteError::Conflict(conflict)) => conflict,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

async fn conditions_decide(store: &dyn Store) {
    let key = partition().key(&["a"]);
    assert_eq!(read(store, &key).await, None);
    for condition in [Condition::Present, Condition::Unchanged(Revision(1))] {
        assert_eq!(
            conflict(store, &[put(&key, 0, condition)]).await,
            Conflict {
                index: Some(0),
                existing: None
            }
        );
    }
    store
        .write(&[put(&key, 1, Condition::Absent)])
        .await
        .expect("nothing is there");
    assert_eq!(read(store, &key).await, Some((1, Revision(1))));

    let refused = conflict(store, &[put(&key, 2, Condition::Absent)]).await;
    let existing = Stored {
        key: key.clone(),
        revision: Revision(1),
        body: Arc::new(json!({ "value": 1 })),
    };
    assert_eq!(
        refused,
        Conflict {
            index: Some(0),
            existing: Some(existing)
        }
    );

    store
        .write(&[put(&key, 3, Condition::Unchanged(Revision(1)))])
        .await
        .expect("it is unchanged");
    conflict(store, &[put(&key, 4, Condition::Unchanged(Revision(1)))]).await;
    store
        .write(&[put(&key, 5, Condition::Present)])
        .await
        .expect("it is there");
    store
        .write(&[put(&key, 6, Condition::None)])
        .await
        .expect("nothing is demanded");
    assert_eq!(read(store, &key).await, Some((6, Revision(4))));

    let delete = |condition| Write::Delete {
        key: key.clone(),
        condition,
    };
    conflict(store, &[delete(Condition::Unchanged(Revision(3)))]).await;
    store
        .write(&[delete(Condition::Unchanged(Revision(4)))])
        .await
        .expect("it is unchanged");
    assert_eq!(read(store, &key).await, None);
    store
        .write(&[delete(Condition::None)])
        .await
        .expect("deleting nothing is no error");
}

async fn transactions_are_all_or_nothing(store: &dyn Store) {
    let partition = partition();
    let [a, b, c] = ["a", "b", "c"].map(|name| partition.key(&[name]));
    store
        .write(&[put(&b, 1, Condition::Absent)])
        .await
        .expect("nothing is there");

    let check = |key: &Key, condition| Write::Check {
        key: key.clone(),
        condition,
    };
    let refused = conflict(
        store,
        &[put(&a, 1, Condition::Absent), put(&b, 2, Condition::Absent)],
    )
    .await;
    assert_eq!(refused.index, Some(1));
    assert_eq!(
        refused.existing.map(|existing| existing.revision),
        Some(Revision(1))
    );
    let refused = conflict(
        store,
        &[put(&a, 1, Condition::Absent), check(&c, Condition::Present)],
    )
    .await;
    assert_eq!(
        refused,
        Conflict {
            index: Some(1),
            existing: None
        }
    );
    assert_eq!((read(store, &a).await, read(store, &c).await), (None, None));

    let delete = Write::Delete {
        key: b.clone(),
        condition: Condition::Present,
    };
    store
        .write(&[
            put(&a, 1, Condition::Absent),
            delete,
            check(&c, Condition::Absent),
        ])
        .await
        .expect("all hold");
    assert_eq!(
        (read(store, &a).await, read(store, &b).await),
        (Some((1, Revision(1))), None)
    );
}

async fn newer_wins_in_any_order(store: &dyn Store) {
    for orders in [[1, 2, 3], [3, 1, 2], [2, 3, 1], [3, 2, 1]] {
        let key = partition().key(&["newest"]);
        for order in orders {
            match store
                .write(&[put(&key, order, Condition::Newer).ordered(order)])
                .await
            {
                Ok(()) | Err(WriteError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(
            read(store, &key).await.map(|(value, _)| value),
            Some(3),
            "{orders:?}"
        );
        conflict(store, &[put(&key, 9, Condition::Newer).ordered(3)]).await;
    }
}

async fn queries_page_in_order(store: &dyn Store) {
    let partition = partition();
    for name in ["b#3", "b", "c", "a", "b1", "b2"] {
        store
            .write(&[put(&partition.key(&["x", name]), 0, Condition::Absent)])
            .await
            .expect("nothing is there");
    }
    let sort = |page: &super::Page| {
        page.items
            .iter()
            .map(|item| item.key.sort().to_owned())
            .collect::<Vec<_>>()
    };
    let first = store
        .query(&partition, "x#b", None, 3)
        .await
        .expect("the store answers");
    assert_eq!(
        (sort(&first), first.more),
        (vec!["x#b".into(), "x#b%233".into(), "x#b1".into()], true)
    );
    let last = first.items.last().map(|item| &item.key);
    let second = store
        .query(&partition, "x#b", last, 3)
        .await
        .expect("the store answers");
    assert_eq!((sort(&second), second.more), (vec!["x#b2".to_owned()], false));
}

async fn tenants_do_not_meet(store: &dyn Store) {
    let [a, b] = [scope(), scope()];
    store
        .write(&[put(&a.partition(&["p"]).key(&["k"]), 1, Condition::Absent)])
        .await
        .expect("nothing is there");
    assert_eq!(read(store, &b.partition(&["p"]).key(&["k"])).await, None);
    let page = store
        .query(&b.partition(&["p"]), "", None, 10)
        .await
        .expect("the store answers");
    assert_eq!(page.items, []);
}

async fn contents_come_back_as_they_were(store: &dyn Store) {
    let key = partition().key(&["kinds"]);
    let body = Arc::new(json!({
        "text": "", "unicode": "ü\u{0}\u{202e}", "list": [], "nested": {"empty": {}, "null": null},
        "large": u64::MAX, "negative": -1, "true": true, "list of kinds": [1, "1", [null]],
    }));
    let expires_at = Some("2100-01-01T00:00:00Z".parse().expect("a time"));
    let condition = Condition::Absent;
    let write = Write::Put {
        key: key.clone(),
        body: body.clone(),
        condition,
        order: None,
        expires_at,
    };
    store.write(&[write]).await.expect("nothing is there");
    assert_eq!(
        store
            .get(&key)
            .await
            .expect("the store answers")
            .map(|stored| stored.body),
        Some(body)
    );
}
