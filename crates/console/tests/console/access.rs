//! Every route, tried by everybody: a route that is missing from the table fails the test.

use http::{Method, StatusCode};
use portwarden_core::access::Role;
use serde_json::{Value, json};

use crate::world::World;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    Anybody,
    /// Whoever is known, a program too.
    Known,
    /// Whoever is known and is a person.
    Person,
    Operator,
    Reader,
    Administrator,
}

/// Every operation of the document: its id, who may, and what its body is at least.
fn table() -> Vec<(&'static str, May, Option<Value>)> {
    use May::{Administrator, Anybody, Known, Operator, Person, Reader};
    vec![
        ("showHealth", Anybody, None),
        ("showMe", Known, None),
        ("redeemInvitation", Person, Some(json!({"token": "pwi_x"}))),
        ("listTenants", Operator, None),
        ("createTenant", Operator, Some(json!({"name": "Mill"}))),
        ("showOperations", Operator, None),
        ("listTenantHealth", Operator, None),
        ("redriveQueue", Operator, None),
        ("showTenant", Reader, None),
        ("inviteAdministrator", Operator, None),
        ("listMembers", Reader, None),
        ("showMember", Reader, None),
        ("changeMember", Administrator, Some(json!({"role": "reader"}))),
        ("removeMember", Administrator, None),
        ("inviteMember", Administrator, Some(json!({"role": "reader"}))),
        ("listApiKeys", Reader, None),
        (
            "createApiKey",
            Administrator,
            Some(json!({"name": "ci", "role": "reader", "days": 1})),
        ),
        ("revokeApiKey", Administrator, None),
        ("listIntegrations", Reader, None),
        (
            "createIntegration",
            Administrator,
            Some(json!({"name": "production", "regions": ["eu-central-1"]})),
        ),
        ("showIntegration", Reader, None),
        ("changeIntegration", Administrator, Some(json!({"name": "other"}))),
        ("removeIntegration", Administrator, None),
        ("confirmIntegration", Administrator, Some(json!({}))),
        ("verifyRegion", Administrator, Some(json!({}))),
        ("rotateCredentials", Administrator, None),
        ("listLaunchLinks", Reader, None),
        ("addRegion", Administrator, None),
        ("showCoverage", Reader, None),
        ("listReceipts", Reader, None),
        ("listImages", Reader, None),
        ("showImage", Reader, None),
        ("listRepositories", Reader, None),
        ("listImagesOfRepository", Reader, None),
        ("showReport", Reader, None),
        ("listFindings", Reader, None),
        ("showChanges", Reader, None),
        ("searchPackages", Reader, None),
        ("listImagesWithFlaw", Reader, None),
        ("listWebhooks", Reader, None),
        (
            "createWebhook",
            Administrator,
            Some(json!({"name": "chat", "url": "https://hooks.example.com/"})),
        ),
        ("showWebhook", Reader, None),
        ("changeWebhook", Administrator, Some(json!({"enabled": false}))),
        ("removeWebhook", Administrator, None),
        ("renewWebhookSecret", Administrator, None),
        ("testWebhook", Administrator, None),
        ("listDeliveries", Reader, None),
        ("redeliver", Administrator, None),
    ]
}

struct Operation {
    id: String,
    method: Method,
    path: String,
}

async fn operations(world: &World) -> Vec<Operation> {
    let document = world.get("", "/v1/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
            });
        }
    }
    operations
}

/// Fills in a path: ids of things that are nowhere, below a tenant that is.
fn fill(path: &str, tenant: &str) -> String {
    let path = path
        .replace("{tenant}", tenant)
        .replace("{person}", "p-00000000000000000000000000")
        .replace("{key}", "k-00000000000000000000000000")
        .replace("{integration}", "i-00000000000000000000000000")
        .replace("{webhook}", "w-00000000000000000000000000")
        .replace("{notification}", "n-00000000000000000000000000")
        .replace("{account}", "111122223333")
        .replace("{region}", "eu-central-1")
        .replace("{queue}", "scan")
        .replace("{flaw}", "CVE-2021-44228")
        .replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
    assert!(!path.contains('{'), "{path}");
    if path.ends_with("/images") && path.contains("/registries/") {
        return format!("{path}?repository=shop/web");
    }
    if path.ends_with("/packages") {
        return format!("{path}?name=log4j");
    }
    path
}

#[tokio::test]
async fn every_route_is_tried_by_everybody() {
    let world = World::new().await;
    let table = table();
    let operations = operations(&world).await;
    let mut known: Vec<&str> = operations.iter().map(|operation| &*operation.id).collect();
    let mut tried: Vec<&str> = table.iter().map(|(id, ..)| *id).collect();
    known.sort_unstable();
    tried.sort_unstable();
    assert_eq!(known, tried, "the table has every route, once");

    let reader_key = world.api_key(0, Role::Reader).await;
    let foreign_key = world.api_key(1, Role::Administrator).await;
    let tokens = ["sam", "zoe", "rex", "olga"].map(|subject| world.token(subject));
    let [sam, zoe, rex, olga] = &tokens;
    let own = world.tenants[0].as_str();
    let nowhere = "t-00000000000000000000000000";
    for operation in &operations {
        let (_, may, body) = table.iter().find(|(id, ..)| *id == operation.id).unwrap();
        let call = async |bearer: &str, tenant: &str| {
            let path = fill(&operation.path, tenant);
            let answer = world.call(bearer, operation.method.clone(), &path, body.clone());
            answer.await
        };
        let name = &operation.id;
        let without = call("", own).await;
        if *may == May::Anybody {
            assert_eq!(without.status, StatusCode::OK, "{name}");
            continue;
        }
        assert_eq!(without.status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(without.header("www-authenticate"), "Bearer", "{name}");
        match may {
            May::Anybody => {}
            May::Known => assert_eq!(call(sam, own).await.status, StatusCode::OK, "{name}"),
            May::Person => {
                assert_eq!(
                    call(&reader_key, own).await.status,
                    StatusCode::FORBIDDEN,
                    "{name}"
                );
                assert_eq!(call(sam, own).await.code(), "invitation_invalid", "{name}");
            }
            May::Operator => {
                for bearer in [sam, zoe, rex, &reader_key] {
                    assert_eq!(call(bearer, own).await.status, StatusCode::FORBIDDEN, "{name}");
                }
                assert!(call(olga, own).await.status.is_success(), "{name}");
            }
            May::Reader | May::Administrator => {
                // Another tenant's caller finds what they would find where there is nothing, to the byte.
                for bearer in [sam, zoe, olga, &foreign_key] {
                    let foreign = call(bearer, own).await;
                    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{name}");
                    let missing = call(bearer, nowhere).await;
                    assert_eq!(foreign.body, missing.body, "{name}");
                    let headers = |answer: &crate::world::Answer| {
                        let mut headers = answer.headers.clone();
                        headers.remove("x-request-id").unwrap();
                        headers
                    };
                    assert_eq!(headers(&foreign), headers(&missing), "{name}");
                }
                for bearer in [rex, &reader_key] {
                    let read = call(bearer, own).await.status;
                    if *may == May::Administrator {
                        assert_eq!(read, StatusCode::FORBIDDEN, "{name}");
                    } else {
                        assert!(
                            read == StatusCode::OK || read == StatusCode::NOT_FOUND,
                            "{name}: {read}"
                        );
                    }
                }
            }
        }
    }
    assert_eq!(world.failures.count(), 0);
    let stored = world.store.dump().len();
    assert!(stored < 30, "nothing was made by those who may not: {stored}");
}

#[tokio::test]
async fn an_administrator_may() {
    let world = World::new().await;
    let ada = world.token("ada");
    for operation in operations(&world).await {
        let table = table();
        let (_, may, body) = table.iter().find(|(id, ..)| *id == operation.id).unwrap();
        if *may != May::Administrator {
            continue;
        }
        let path = fill(&operation.path, world.tenants[0].as_str());
        let answer = world
            .call(&ada, operation.method.clone(), &path, body.clone())
            .await;
        // What is named is nowhere, and what is made is made.
        let is_known = answer.status == StatusCode::CREATED || answer.status == StatusCode::NOT_FOUND;
        assert!(is_known, "{}: {answer:?}", operation.id);
    }
}

#[tokio::test]
async fn a_tenant_comes_to_its_first_administrator_by_an_invitation() {
    let world = World::new().await;
    let (olga, sam) = (world.token("olga"), world.token("sam"));
    let made = world
        .call(&olga, Method::POST, "/v1/tenants", Some(json!({"name": "Mill"})))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let tenant = made.header("location").to_owned();
    assert_eq!(world.get(&olga, &tenant).await.status, StatusCode::NOT_FOUND);
    let invited = world
        .call(&olga, Method::POST, &format!("{tenant}/administrators"), None)
        .await
        .json();
    let token = json!({"token": invited["token"]});
    let redeem = async || {
        world
            .call(&sam, Method::POST, "/v1/me/invitations", Some(token.clone()))
            .await
    };
    let redeemed = redeem().await.json();
    assert_eq!(redeemed["membership"]["role"], "administrator");
    assert_eq!(redeem().await.code(), "invitation_invalid");
    assert_eq!(world.get(&sam, &tenant).await.json()["name"], "Mill");
    let me = world.get(&sam, "/v1/me").await.json();
    assert_eq!(me["tenants"][0]["role"], "administrator");
    // Nobody takes their own role away; another administrator does, at once.
    let own = format!("{tenant}/members/{}", me["person"].as_str().unwrap());
    let refused = world.call(&sam, Method::DELETE, &own, None).await;
    assert_eq!(refused.code(), "own_membership");
    let missing = world.call(
        &olga,
        Method::POST,
        "/v1/tenants/t-00000000000000000000000000/administrators",
        None,
    );
    assert_eq!(missing.await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_ends_at_once() {
    let world = World::new().await;
    let ada = world.token("ada");
    let keys = world.path(0, "/api-keys");
    let body = json!({"name": "ci", "role": "reader", "days": 1});
    let made = world.call(&ada, Method::POST, &keys, Some(body)).await.json();
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("pwk_"));
    let listed = world.get(&token, &keys).await;
    assert_eq!(listed.status, StatusCode::OK);
    assert!(!listed.body.contains(&token[4..]), "{}", listed.body);
    assert!(!format!("{:?}", world.store.dump()).contains(&token[4..]));
    let one = format!("{keys}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        world.call(&ada, Method::DELETE, &one, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(world.get(&token, &keys).await.status, StatusCode::UNAUTHORIZED);
    let days = json!({"name": "ci", "role": "reader", "days": 367});
    assert_eq!(
        world.call(&ada, Method::POST, &keys, Some(days)).await.code(),
        "days_invalid"
    );
}

#[tokio::test]
async fn a_flood_of_one_tenant_hurts_no_other() {
    let world = World::new().await;
    let (rex, zoe) = (world.token("rex"), world.token("zoe"));
    let mut answers = 0;
    let refused = loop {
        let answer = world.get(&rex, &world.path(0, "")).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        answers += 1;
    };
    assert_eq!((answers, refused.code()), (200, "over_budget".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(world.get(&zoe, &world.path(1, "")).await.status, StatusCode::OK);
}
