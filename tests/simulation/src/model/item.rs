use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    id::{AccountId, IntegrationId, NotificationId, Region, TenantId},
    store::Key,
};
use portwarden_oci::Digest;

/// What an item of the table is about, read from its key.
pub(super) enum Item {
    Scan {
        tenant: TenantId,
        digest: Digest,
    },
    Location {
        tenant: TenantId,
        digest: Digest,
        account: AccountId,
    },
    Integration {
        integration: IntegrationId,
    },
    Heartbeat {
        integration: IntegrationId,
        region: Region,
    },
    Told {
        integration: IntegrationId,
        region: Region,
    },
    Region {
        integration: IntegrationId,
        region: Region,
    },
    Tag {
        tenant: TenantId,
    },
    Notification {
        tenant: TenantId,
        id: NotificationId,
    },
}

impl Item {
    pub(super) fn of(key: &Key) -> Option<Self> {
        let mut parts = [""; 8];
        let partition = split(key.partition().as_str(), &mut parts);
        let mut parts = [""; 8];
        let sort = split(key.sort(), &mut parts);
        match (partition, sort) {
            (["T", tenant, "image", digest], ["scan", version]) if version.parse() == Ok(CATALOG_VERSION) => {
                Some(Self::Scan {
                    tenant: tenant.parse().ok()?,
                    digest: digest.parse().ok()?,
                })
            }
            (["T", tenant, "image", digest], ["location", account, ..]) => Some(Self::Location {
                tenant: tenant.parse().ok()?,
                digest: digest.parse().ok()?,
                account: account.parse().ok()?,
            }),
            (["T", _, "integrations"], [integration, "integration"]) => Some(Self::Integration {
                integration: integration.parse().ok()?,
            }),
            (["T", _, "integrations"], [integration, "heartbeat", region]) => Some(Self::Heartbeat {
                integration: integration.parse().ok()?,
                region: region.parse().ok()?,
            }),
            (["T", _, "integrations"], [integration, "told", region]) => Some(Self::Told {
                integration: integration.parse().ok()?,
                region: region.parse().ok()?,
            }),
            (["T", _, "integrations"], [integration, "region", region]) => Some(Self::Region {
                integration: integration.parse().ok()?,
                region: region.parse().ok()?,
            }),
            (["T", tenant, "tags", _], _) => Some(Self::Tag {
                tenant: tenant.parse().ok()?,
            }),
            (["T", tenant, "notifications"], [id]) => Some(Self::Notification {
                tenant: tenant.parse().ok()?,
                id: id.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// Cuts a part of a key into its parts; what has more of them than there is room for is nothing that is known here.
fn split<'p, 't>(text: &'t str, parts: &'p mut [&'t str; 8]) -> &'p [&'t str] {
    let mut count = 0;
    for part in text.split('#') {
        let Some(place) = parts.get_mut(count) else {
            return &[];
        };
        *place = part;
        count += 1;
    }
    &parts[..count]
}
