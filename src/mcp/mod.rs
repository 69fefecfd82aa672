//! The tracker for agents: a Model Context Protocol server on stdin and stdout.
//!
//! What only reads asks the store at once. What talks to HeyGen is a child: this same program with `--json`, one at a
//! time, so that a long check never holds up a `ping` or a read, a cancelled call is a killed run, which is always safe,
//! and nothing but protocol can reach stdout. The runtime lives in this one command; everything else stays blocking.

mod child;
mod tools;
mod types;

use std::path::PathBuf;
use std::sync::Arc;

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio;

use crate::config::Environment;
use crate::error::{Problem, code};

#[derive(Clone, Debug)]
pub(crate) struct McpServer {
    pub(crate) env: Environment,
    pub(crate) database: PathBuf,
    pub(crate) allow_submit: bool,
    /// How many submissions of the last 24 hours the database may have.
    pub(crate) max_per_day: u64,
    /// Held by the child that is at work.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl McpServer {
    pub(crate) fn run(self) -> Result<(), Problem> {
        let broken = |error: String| Problem::new(code::FILE, format!("MCP: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Problem::system("start the MCP server", &source))?;
        let served = runtime.block_on(async {
            let service = match self.serve(stdio()).await {
                Ok(service) => service,
                // A client that leaves before it has said anything is none.
                Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
                Err(error) => return Err(broken(error.to_string())),
            };
            service
                .waiting()
                .await
                .map(drop)
                .map_err(|e| broken(e.to_string()))
        });
        // The thread that waits for the next line of stdin cannot be woken; the process is about to end.
        runtime.shutdown_background();
        served
    }
}
