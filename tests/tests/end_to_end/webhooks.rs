//! From a push to a tenant's own server: what changed is told on the bus and to webhooks.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use portwarden_aws::{Aws, NotifyQueue, SystemClock, WebhookKeySecret};
use portwarden_core::{
    clock::Clock as _,
    random::OsRandomness,
    webhook::{DeliveryState, ReadWebhookKey as _, Signed, WebhookSecret, WebhookUrl, Webhooks},
};
use portwarden_local::{AdvisoryChoice, LocalCloud, push::ImageChoice, watch::Action};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    advisories::write_record,
    push::next_release,
    world::{World, eventually, options, scope},
};

type Message = (Signed, Vec<u8>);

/// What a server on this machine was sent.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Vec<Message>>>);

impl Inbox {
    /// Serves, and says where; the first request is answered with 500.
    pub(crate) async fn open(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = self.clone();
        tokio::spawn(async move {
            let mut status = "500 Not Yet";
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let message = receive(&mut socket).await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                inbox.0.lock().unwrap().push(message);
                socket.write_all(answer.as_bytes()).await.unwrap();
                status = "204 Taken";
            }
        });
        format!("http://{address}/hook")
    }

    /// Checks that what was sent is what was signed, with the secrets of a time.
    fn check_signatures(&self, secrets: impl Fn(Timestamp) -> Vec<WebhookSecret>) {
        for (signed, body) in self.0.lock().unwrap().iter() {
            let at = Timestamp::from_second(signed.timestamp.parse().unwrap()).unwrap();
            let expected = Signed::new(&signed.id.parse().unwrap(), at, body, &secrets(at));
            assert_eq!(*signed, expected);
        }
    }

    /// Waits for so many messages.
    async fn messages(&self, count: usize) -> Vec<(Signed, Value)> {
        eventually("the messages are there", async || {
            let inbox = self.0.lock().unwrap();
            let parsed = inbox
                .iter()
                .map(|(signed, body)| (signed.clone(), serde_json::from_slice(body).unwrap()));
            (inbox.len() >= count).then(|| parsed.collect())
        })
        .await
    }
}

/// Reads one request.
async fn receive(socket: &mut TcpStream) -> Message {
    let mut request = Vec::new();
    loop {
        let head_ends = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&request[..head_ends.unwrap_or_default()]).to_lowercase();
        let header = |name: &str| {
            let line = head
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        if let Some(ends) = head_ends
            && request.len() - ends - 4 >= header("content-length").parse().unwrap()
        {
            // Signatures are case sensitive.
            let text = String::from_utf8_lossy(&request[..ends]).into_owned();
            let signature = text
                .lines()
                .find_map(|line| line.strip_prefix("webhook-signature: "))
                .unwrap();
            let signed = Signed {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: signature.to_owned(),
            };
            return (signed, request[ends + 4..].to_vec());
        }
        let mut part = [0; 4096];
        let read = socket.read(&mut part).await.unwrap();
        assert!(read > 0, "the request ends early");
        request.extend_from_slice(&part[..read]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_told_on_the_bus_and_to_a_webhook_signed_until_it_is_taken() {
    let mut options = options("webhooks");
    let feed = options.state.join("feed");
    let _ = std::fs::remove_dir_all(&feed);
    let express = json!({ "ecosystem": "npm", "name": "express" });
    write_record(&feed, "npm", "EX-1", 1, &express, "99.0.0");
    options.advisories = AdvisoryChoice::Directory(feed.clone());
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let (tenant, subscriber) = (world.tenant(0), world.subscribe().await);
    let (scope, now) = (scope(&tenant), SystemClock.now());
    let output = |name| world.cloud.stack().output(name).unwrap().to_owned();
    let aws = Aws::over(world.cloud.operator().sdk_config(), None);
    let queue = NotifyQueue::new(&aws, output("NotifyQueueUrl"));
    let key = WebhookKeySecret::new(&aws, output("WebhookKeyArn"))
        .webhook_key()
        .await
        .unwrap();
    let webhooks = Webhooks::new(world.cloud.store().unwrap());
    let inbox = Inbox::default();
    let url = WebhookUrl::parse_beside_emulator(&inbox.open().await).unwrap();
    let (webhook, _) = webhooks
        .create(&scope, ("shop", &url), &key, now, &OsRandomness)
        .await
        .unwrap();

    // A test, refused at first and then made again by hand.
    let test = webhooks
        .test(&scope, &webhook.id, now, &OsRandomness, &queue)
        .await
        .unwrap()
        .unwrap();
    let state = async || {
        let list = webhooks.deliveries(&scope, &webhook.id, None, 10).await.unwrap();
        list.items
            .into_iter()
            .find(|delivery| delivery.notification == test.notification)
            .unwrap()
            .state
    };
    eventually("the test was refused", async || {
        (state().await == DeliveryState::GivenUp).then_some(())
    })
    .await;
    webhooks
        .redeliver(&scope, &webhook.id, &test.notification, now, &queue)
        .await
        .unwrap();
    eventually("the test was taken", async || {
        (state().await == DeliveryState::Delivered).then_some(())
    })
    .await;

    // The first image of a tag is no change; the next release under the same tag may be, and the next edition is.
    let first = world
        .push(&tenant, &ImageChoice::Sample, "shop/web", "latest")
        .await;
    world.tell(&tenant, Action::Push, &first).await;
    world.cloud.report(&tenant.id, &first.digest).await.unwrap();
    let next = next_release(&world, &tenant, "other").await;
    world.tell(&tenant, Action::Push, &next).await;
    world.cloud.report(&tenant.id, &next.digest).await.unwrap();
    std::fs::remove_file(feed.join("npm/EX-1.json")).unwrap();
    write_record(&feed, "npm", "EX-2", 3, &express, "98.0.0");
    world.cloud.publish_advisories(&feed).await.unwrap();
    world.cloud.follow_advisories().await.unwrap();
    let messages = inbox.messages(4).await;
    let (pings, changes) = messages.split_at(2);
    assert_eq!(pings[0].0.id, pings[1].0.id);
    for (signed, body) in pings {
        assert_eq!(
            (&body["type"], &body["data"]["id"]),
            (&json!("ping"), &json!(signed.id))
        );
    }
    let mut told = Vec::new();
    for (signed, body) in changes {
        let data = &body["data"];
        assert_eq!(body["type"], "findings.changed");
        assert_eq!(data["id"], json!(signed.id));
        assert_eq!(data["reason"], "advisories_changed");
        assert_eq!(data["tenant"], json!(tenant.id));
        assert_eq!(data["counts"]["new"], 1, "{data:#}");
        told.push(data["after"]["digest"].as_str().unwrap().to_owned());
    }
    told.sort();
    let mut pushed = [first.digest.to_string(), next.digest.to_string()];
    pushed.sort();
    assert_eq!(told, pushed);
    inbox.check_signatures(|at| webhook.secrets(&scope, &key, at));
    let announced = eventually("the bus has them, too", async || {
        let messages = world.take_messages(&subscriber).await;
        let mut details = messages.iter().filter_map(|text| {
            let event: Value = serde_json::from_str(text).unwrap();
            (event["detail-type"] == "Findings Changed").then(|| event["detail"].clone())
        });
        details.next_back()
    })
    .await;
    assert!(
        changes.iter().any(|(_, body)| body["data"] == announced),
        "{announced:#?}"
    );
    world.cloud.shutdown().await;
}
