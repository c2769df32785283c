use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    },
};
use portwarden_aws::{Aws, DynamoStore};
use portwarden_core::{
    id::TenantId,
    scope::OperatorScope,
    store::{Condition, Key, Partition, Store, StoreError, Write, WriteError, contract},
};
use serde_json::json;

use crate::Cloud;

const TABLE: &str = "portwarden";

/// Makes the table with the key of `template.yaml`.
async fn table(cloud: &Cloud) -> (DynamoStore, Client) {
    let client = Client::new(&cloud.operator.sdk_config());
    let mut table = client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        table = table
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name(name)
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .unwrap(),
            )
            .key_schema(
                KeySchemaElement::builder()
                    .attribute_name(name)
                    .key_type(kind)
                    .build()
                    .unwrap(),
            );
    }
    table.send().await.unwrap();
    (DynamoStore::new(&cloud.aws, TABLE.into()), client)
}

fn partition(part: &str) -> Partition {
    OperatorScope::of_this_process()
        .tenant(TenantId::operator())
        .partition(&[part])
}

#[tokio::test]
async fn the_table_keeps_the_contract() {
    let cloud = Cloud::start("contract").await;
    contract::check(&table(&cloud).await.0).await;
}

#[tokio::test]
async fn an_item_lies_in_the_table_as_its_readers_expect() {
    let cloud = Cloud::start("layout").await;
    let (store, client) = table(&cloud).await;
    let key = partition("layout").key(&["k"]);
    let put = Write::put(key.clone(), &json!({"a": 1}), Condition::Absent);
    let put = put.ordered(-5).expiring("2100-01-01T00:00:00Z".parse().unwrap());
    store.write(&[put]).await.unwrap();
    let item = raw(&client, &key).await;
    let expected = [
        ("pk", AttributeValue::S(key.partition().as_str().into())),
        ("sk", AttributeValue::S("k".into())),
        ("rev", AttributeValue::N("1".into())),
        ("ord", AttributeValue::N("-5".into())),
        ("expires_at", AttributeValue::N("4102444800".into())),
        (
            "body",
            AttributeValue::M([("a".to_owned(), AttributeValue::N("1".into()))].into()),
        ),
    ];
    assert_eq!(
        item,
        expected.map(|(name, value)| (name.to_owned(), value)).into()
    );

    // A put without order and end leaves neither behind, also as a part of a transaction.
    let put = Write::put(key.clone(), &json!({}), Condition::Present);
    let check = Write::Check {
        key: partition("layout").key(&["other"]),
        condition: Condition::Absent,
    };
    store.write(&[put, check]).await.unwrap();
    let mut names: Vec<String> = raw(&client, &key).await.into_keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["body", "pk", "rev", "sk"]);
}

async fn raw(client: &Client, key: &Key) -> std::collections::HashMap<String, AttributeValue> {
    let answer = client
        .get_item()
        .table_name(TABLE)
        .key("pk", AttributeValue::S(key.partition().as_str().into()))
        .key("sk", AttributeValue::S(key.sort().into()))
        .send()
        .await
        .unwrap();
    answer.item.unwrap()
}

#[tokio::test]
async fn pages_are_exact_although_an_answer_ends_at_a_megabyte() {
    let cloud = Cloud::start("pages").await;
    let (store, _) = table(&cloud).await;
    let partition = partition("pages");
    let large = "x".repeat(300_000);
    for name in ["a", "b", "c", "d", "e"] {
        let put = Write::put(
            partition.key(&[name]),
            &json!({ "text": large }),
            Condition::Absent,
        );
        store.write(&[put]).await.unwrap();
    }
    for (limit, after, names, more) in [
        (5, None, vec!["a", "b", "c", "d", "e"], false),
        (4, None, vec!["a", "b", "c", "d"], true),
        (2, Some("b"), vec!["c", "d"], true),
        (2, Some("c"), vec!["d", "e"], false),
        (usize::MAX, Some("e"), vec![], false),
    ] {
        let after = after.map(|name| partition.key(&[name]));
        let page = store.query(&partition, "", after.as_ref(), limit).await.unwrap();
        let found: Vec<&str> = page.items.iter().map(|item| item.key.sort()).collect();
        assert_eq!((found, page.more), (names, more), "{limit} after {after:?}");
    }
}

#[tokio::test]
async fn writers_at_once_leave_one_winner_and_count_every_write() {
    let cloud = Cloud::start("race").await;
    let (store, _) = table(&cloud).await;
    let key = partition("race").key(&["k"]);
    let first = (0..8).map(|writer| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            let put = Write::put(key, &json!({ "writer": writer }), Condition::Absent);
            store.write(&[put]).await
        })
    });
    let mut winners = 0;
    for write in first.collect::<Vec<_>>() {
        match write.await.unwrap() {
            Ok(()) => winners += 1,
            Err(WriteError::Conflict(conflict)) => {
                assert_eq!(conflict.existing.map(|stored| stored.revision.0), Some(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners, 1);
    for _ in 0..3 {
        let put = Write::put(key.clone(), &json!({}), Condition::None);
        store.write(&[put]).await.unwrap();
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap().revision.0, 4);
}

#[tokio::test]
async fn failures_have_names() {
    let cloud = Cloud::start("failures").await;
    let (store, _) = table(&cloud).await;
    let key = partition("failures").key(&["k"]);

    let too_large = Write::put(
        key.clone(),
        &json!({ "text": "x".repeat(410_000) }),
        Condition::None,
    );
    let error = store.write(&[too_large]).await.unwrap_err();
    assert!(
        matches!(error, WriteError::Store(StoreError::Refused(_))),
        "{error:?}"
    );

    let elsewhere = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(crate::REGION))
        .credentials_provider(cloud.operator.sdk_config().credentials_provider().unwrap())
        .endpoint_url("http://127.0.0.1:1")
        .build();
    let unreachable = DynamoStore::new(&Aws::over(elsewhere, None), TABLE.into());
    let error = unreachable.get(&key).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
