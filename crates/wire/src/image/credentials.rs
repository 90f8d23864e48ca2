//! What a private registry wants to see.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Credentials for the registry of one image. Never shown: its `Debug` has the type alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RegistryCredentials {
    /// A user's name and password, or a token in its place.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A key of AWS, for Elastic Container Registry.
    Aws {
        /// The key's id.
        aws_access_key_id: String,
        /// The key.
        aws_secret_access_key: String,
        /// The registry's region; absent, it is read off the registry's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        aws_region: Option<String>,
    },
    /// A service account of Google Cloud, for Artifact Registry.
    Gcp {
        /// Its key file, as text.
        gcp_service_account_json: String,
    },
    /// A service principal of Azure, for Azure Container Registry.
    Azure {
        /// Its application id.
        azure_client_id: String,
        /// Its secret.
        azure_client_secret: String,
        /// Its directory.
        azure_tenant_id: String,
    },
}

impl RegistryCredentials {
    /// The word users see for the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Aws { .. } => "aws",
            Self::Gcp { .. } => "gcp",
            Self::Azure { .. } => "azure",
        }
    }
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryCredentials({}, …)", self.kind())
    }
}
