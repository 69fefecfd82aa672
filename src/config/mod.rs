//! What the flags, the environment and the files of the user amount to: flags, then environment, then defaults.

mod credentials;
mod environment;
mod places;

pub use credentials::{Credential, api_key, webhook_secret};
pub use environment::Environment;
pub use places::{base_url, database, proxy, refuse_tilde};
