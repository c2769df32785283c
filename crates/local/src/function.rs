//! A deployed function with all that Lambda gives it: to run its program elsewhere than in the emulator.

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    account::Account,
    deploy::{self, Stack},
    error::LocalError,
};

/// A function of a deployed stack.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name in Lambda.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// The environment that it runs with, its role's credentials among it.
    pub environment: BTreeMap<String, String>,
}

/// What Lambda knows of a function, in the words of its API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    function_name: String,
    role: String,
    memory_size: u64,
    timeout: u64,
    environment: Environment,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, String>,
}

/// Lambda hands a role's credentials to functions only, so a function of that role hands them on.
const CREDENTIALS_FUNCTION: &str = r#"
import os

def handler(event, context):
    return {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
"#;

impl Function {
    /// Looks up a function of a stack in `account`.
    pub(crate) async fn find(
        account: &Account,
        stack: &Stack,
        logical_id: &str,
        program: PathBuf,
    ) -> Result<Self, LocalError> {
        let lambda = Lambda::new(account)?;
        let name = deploy::physical_id(account, stack, logical_id).await?;
        let configuration: Configuration = lambda.configuration(&name).await?;
        let mut environment = configuration.environment.variables;
        environment.extend(lambda.credentials(&configuration.role, &name).await?);
        let region = account.region().to_string();
        environment.extend(
            [
                ("AWS_REGION", region.clone()),
                ("AWS_DEFAULT_REGION", region),
                ("AWS_LAMBDA_FUNCTION_NAME", configuration.function_name.clone()),
                (
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                    configuration.memory_size.to_string(),
                ),
                ("AWS_LAMBDA_FUNCTION_TIMEOUT", configuration.timeout.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(Self {
            name: configuration.function_name,
            program,
            environment,
        })
    }
}

/// Invokes a function of a stack in `account` and waits for its answer; that the function failed is an error.
pub(crate) async fn invoke(
    account: &Account,
    stack: &Stack,
    logical_id: &str,
    event: &Value,
) -> Result<Value, LocalError> {
    let action = "invoke a function";
    let name = deploy::physical_id(account, stack, logical_id).await?;
    let answer = Lambda::new(account)?
        .call(action, Method::POST, &format!("/{name}/invocations"), Some(event))
        .await?;
    match answer.get("errorMessage") {
        Some(message) => Err(LocalError::call(action, format!("{name}: {message}"))),
        None => Ok(answer),
    }
}

/// The few calls of Lambda's API that are made here.
///
/// Source: Lambda API reference, "Actions".
struct Lambda<'a> {
    account: &'a Account,
    client: Client,
}

impl<'a> Lambda<'a> {
    fn new(account: &'a Account) -> Result<Self, LocalError> {
        let client = Client::builder()
            .no_proxy()
            .build()
            .map_err(|source| LocalError::call("prepare HTTP", source))?;
        Ok(Self { account, client })
    }

    async fn configuration(&self, function: &str) -> Result<Configuration, LocalError> {
        let action = "look at a function";
        let answer = self
            .call(action, Method::GET, &format!("/{function}/configuration"), None)
            .await?;
        serde_json::from_value(answer).map_err(|error| LocalError::call(action, error))
    }

    /// Returns the credentials of a function's role, as environment variables.
    async fn credentials(&self, role: &str, function: &str) -> Result<BTreeMap<String, String>, LocalError> {
        let action = "take a function's credentials";
        let name = format!("{function}-credentials");
        let code = deploy::zip_file("index.py", CREDENTIALS_FUNCTION.as_bytes())
            .map_err(|source| LocalError::call("zip a function", source))?;
        let function = json!({
            "FunctionName": name,
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": role,
            "Code": { "ZipFile": BASE64_STANDARD.encode(&code) },
        });
        self.call(action, Method::POST, "", Some(&function)).await?;
        let answer = self
            .call(
                action,
                Method::POST,
                &format!("/{name}/invocations"),
                Some(&json!({})),
            )
            .await?;
        self.call(action, Method::DELETE, &format!("/{name}"), None)
            .await?;
        serde_json::from_value(answer).map_err(|error| LocalError::call(action, error))
    }

    async fn call(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, LocalError> {
        let url = format!("{}/2015-03-31/functions{path}", self.account.endpoint());
        let mut request = self
            .client
            .request(method, url)
            .header("authorization", self.account.authorization("lambda"));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let fail = |error: reqwest::Error| LocalError::call(action, error);
        let answer = request.send().await.map_err(fail)?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(fail)?;
        if !status.is_success() {
            let reason = format!("{status}: {}", String::from_utf8_lossy(&text));
            return Err(LocalError::call(action, reason));
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).map_err(|error| LocalError::call(action, error))
    }
}
