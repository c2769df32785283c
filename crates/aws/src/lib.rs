#![doc = include_str!("../README.md")]

mod clock;
mod config;
mod dynamodb;
mod ecr;
mod eventbridge;
mod failure;
mod feed;
mod http;
mod iam;
mod registry;
mod registry_scan;
mod s3;
mod secretsmanager;
mod settings;
mod sqs;
mod sts;
pub mod telemetry;
mod templates;

pub use clock::SystemClock;
pub use config::{Aws, AwsSettings, EmulatorEndpoint, EmulatorEndpointError};
pub use dynamodb::DynamoStore;
pub use ecr::Ecr;
pub use eventbridge::EventBus;
pub use feed::S3Feed;
pub use iam::Iam;
pub use registry::EcrRegistries;
pub use s3::Bucket;
pub use secretsmanager::{SecretsManager, WebhookKeySecret};
pub use settings::{SettingProblem, Settings, SettingsError};
pub use sqs::{
    InventoryQueue, NotifyQueue, QueueNames, QueuesError, RematchQueue, ScanQueue, VerifyQueue, WatchedQueues,
};
pub use sts::{Connector, RoleProber, TenantSessions};
pub use telemetry::{
    Fault, FolderFigures, InventoryFigures, Line, Metric, Metrics, RematchFigures, ScanFigures, Service,
};
pub use templates::PublicTemplates;
