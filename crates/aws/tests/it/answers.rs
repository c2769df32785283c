use std::sync::{Arc, Mutex};

use portwarden_aws::{Aws, EmulatorEndpoint};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An AWS on loopback that gives prepared answers, and keeps the requests.
pub(crate) struct Answers {
    endpoint: EmulatorEndpoint,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Answers {
    /// Gives `answers`, each a status and a body, in their order; the last one again and again.
    pub(crate) async fn start(answers: &[(u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answers) = (Arc::clone(&requests), answers.to_vec());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let given = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request);
                    kept.len() - 1
                };
                let (status, body) = &answers[given.min(answers.len() - 1)];
                let head = format!(
                    "HTTP/1.1 {status} Prepared\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self {
            endpoint: format!("http://{address}").parse().unwrap(),
            requests,
        }
    }

    /// Returns the way to it.
    pub(crate) fn aws(&self) -> Aws {
        let credentials = aws_sdk_sts::config::Credentials::new("AKIAOWN", "own-secret", None, None, "test");
        let sdk = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new("eu-west-1"))
            .endpoint_url(self.endpoint.url())
            .credentials_provider(aws_sdk_sts::config::SharedCredentialsProvider::new(credentials))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .build();
        Aws::over(sdk, Some(self.endpoint.clone()))
    }

    /// Returns the requests, heads and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads a request to the end of the body that its head announces.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.trim().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

/// Writes STS's answer with a session of `account` whose secrets contain `secret`.
pub(crate) fn session_of(account: &str, secret: &str) -> (u16, String) {
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/r/s</Arn>\
         <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>AKIA{secret}</AccessKeyId><SecretAccessKey>key-{secret}</SecretAccessKey>\
         <SessionToken>token-{secret}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    );
    (200, body)
}

/// Writes STS's answer with an error.
pub(crate) fn sts_error(status: u16, code: &str) -> (u16, String) {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>told</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    (status, body)
}

/// Writes an error as the services with JSON bodies do.
pub(crate) fn json_error(status: u16, code: &str) -> (u16, String) {
    (status, format!("{{\"__type\":\"{code}\",\"message\":\"told\"}}"))
}
