use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    id::{IntegrationId, NotificationId, Region, TenantId},
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
        digest: Digest,
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
        let partition: Vec<&str> = key.partition().as_str().split('#').collect();
        let sort: Vec<&str> = key.sort().split('#').collect();
        match (&partition[..], &sort[..]) {
            (["T", tenant, "image", digest], ["scan", version])
                if *version == CATALOG_VERSION.to_string() =>
            {
                Some(Self::Scan {
                    tenant: tenant.parse().ok()?,
                    digest: digest.parse().ok()?,
                })
            }
            (["T", _, "image", digest], ["location", ..]) => Some(Self::Location {
                digest: digest.parse().ok()?,
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
