//! The tools. Each says to a model what it does, what it costs and what to do next.

use std::ffi::OsString;
use std::time::Duration;

use chrono::Local;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, ListResourceTemplatesResult,
    PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourceContents, ResourceTemplate,
    ServerCapabilities, ServerConfig,
};
use rmcp::schemars::JsonSchema;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::McpServer;
use super::child::{self, EndOnDrop, Output};
use super::types::{
    CheckAnswer, CheckVideos, DownloadVideo, GetVideo, ListVideos, ReplyToAgent, RetryVideo, Rows,
    StatsAnswer, Submission, SubmitVideo, ToolError, TrackVideo, VideoAnswer, VideoInfo, VideoList,
    VideoRef,
};
use crate::error::{Problem, code};
use crate::pass::Access;
use crate::render::fields::Field;
use crate::render::json::VideoObject;
use crate::rows::find;
use crate::store::{Filter, Store};
use crate::time;
use crate::video::{RowId, Video, VideoId};
use crate::when::parse_when;

const RULES: &str = "\
A durable table of HeyGen videos on this machine. Rendering takes 5 to 20 minutes: do not wait in a loop; call \
check_videos when next_check_seconds have passed, or let cron run `tracker check`. Submitting costs money: use \
dry_run first, give a request_key, and never submit again because an answer is late: the row is recorded and \
check_videos goes on with it.";

/// Older answers of HeyGen's are asked for again when a model asks for an unfinished video.
const STALE: Duration = Duration::from_secs(60);
const PAGE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

type ToolResult<T> = Result<T, ToolError>;

/// A result with its structure, and `text` for people.
fn answered<T: Serialize>(
    answer: ToolResult<T>,
    text: impl FnOnce(&T) -> String,
) -> CallToolResult {
    match answer {
        Err(failure) => failure.result(),
        Ok(answer) => {
            let text = text(&answer);
            let mut result =
                CallToolResult::structured(serde_json::to_value(answer).unwrap_or_default());
            result.content = vec![ContentBlock::text(text)];
            result
        }
    }
}

fn schema<T: JsonSchema + 'static>() -> std::sync::Arc<rmcp::model::JsonObject> {
    rmcp::handler::server::common::schema_for_type::<T>()
}

fn info(video: &Video) -> VideoInfo {
    let object = VideoObject {
        video,
        fields: Field::ALL,
    };
    let value = serde_json::to_value(object).unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn line(video: &VideoInfo) -> String {
    video.line()
}

impl McpServer {
    fn read<T>(
        &self,
        look: impl FnOnce(&crate::store::Tx<'_>) -> Result<T, Problem>,
    ) -> ToolResult<T> {
        let store = Store::open_for_reading(&self.database)?;
        Ok(store.read(look)?)
    }

    fn row(&self, id: &VideoRef) -> ToolResult<Video> {
        let id = id.text();
        self.read(|tx| {
            let row = find(tx, &id, true)?;
            tx.video(row)?.ok_or_else(|| Problem::not_found(&id))
        })
    }

    /// The row that a verb has worked on.
    fn one_row<T>(&self, done: ToolResult<T>, id: &VideoRef) -> ToolResult<Rows> {
        done?;
        let videos = vec![info(&self.row(id)?)];
        Ok(Rows { videos })
    }

    /// Runs a verb to its end and returns what it printed.
    async fn verb(
        &self,
        verb: &str,
        arguments: impl IntoIterator<Item = String>,
        input: Vec<u8>,
        context: &RequestContext<RoleServer>,
    ) -> ToolResult<Vec<Value>> {
        let _turn = self.turn.lock().await;
        let mut command = self.command(verb);
        command.extend(arguments.into_iter().map(OsString::from));
        let (running, mut output) = child::start(command, input)?;
        let _ended = EndOnDrop(running.clone());
        let mut lines = Vec::new();
        loop {
            let next = tokio::select! {
                next = output.recv() => next,
                () = context.ct.cancelled() => {
                    running.end();
                    return Err(ToolError::local("cancelled; the next check goes on from here"));
                }
            };
            match next {
                Some(Output::Line(line)) => {
                    report_progress(context, lines.len(), &line).await;
                    lines.push(line);
                }
                Some(Output::Ended(Ok(()))) => return Ok(lines),
                // What was done before it is true all the same.
                Some(Output::Ended(Err(failure))) => return Err(failure),
                None => return Err(ToolError::local("the run was ended")),
            }
        }
    }

    /// What HeyGen says now of a video that no row knows.
    async fn untracked(&self, id: String) -> ToolResult<VideoInfo> {
        let env = self.env.clone();
        let asked = tokio::task::spawn_blocking(move || -> ToolResult<Value> {
            let not_found = || ToolError::from(Problem::not_found(&id));
            let video_id = VideoId::new(id.as_str()).ok_or_else(not_found)?;
            let remote = Access::resolve(&env)?.client.video(&video_id);
            let remote = remote.map_err(Problem::from)?;
            Ok(json!({
                "video_id": remote.id.as_str(),
                "status": remote.status.as_str(),
                "title": remote.title,
                "completed_at": remote.completed_at,
                "duration": remote.duration,
                "failure_code": remote.failure_code,
                "failure_message": remote.failure_message,
                "video_page_url": remote.video_page_url,
            }))
        });
        let value = asked
            .await
            .map_err(|error| ToolError::local(&error.to_string()))??;
        serde_json::from_value(value).map_err(|error| ToolError::local(&error.to_string()))
    }

    async fn video(
        &self,
        asked: GetVideo,
        context: &RequestContext<RoleServer>,
    ) -> ToolResult<VideoAnswer> {
        let video = match self.row(&asked.id) {
            Ok(video) => video,
            Err(failure) if failure.is_not_found() && !asked.id.text().is_empty() => {
                return Ok(VideoAnswer {
                    video: self.untracked(asked.id.text()).await?,
                    tracked: false,
                    timeline: None,
                });
            }
            Err(failure) => return Err(failure),
        };
        let stale = |at| time::now().since(at) >= STALE;
        let video = if !video.finished && video.last_checked_at.is_none_or(stale) {
            // An outage is no reason to keep back what is known; the row's last_error tells of it.
            let id = video.id.to_string();
            self.verb(
                "check",
                ["--no-download".to_owned(), "--".to_owned(), id],
                Vec::new(),
                context,
            )
            .await
            .ok();
            self.row(&VideoRef::Number(video.id.0))?
        } else {
            video
        };
        let timeline = match asked.timeline {
            false => None,
            true => {
                let events = self.read(|tx| tx.timeline(video.id))?;
                let events = events.iter().map(serde_json::to_value);
                Some(events.filter_map(Result::ok).collect())
            }
        };
        Ok(VideoAnswer {
            video: info(&video),
            tracked: true,
            timeline,
        })
    }

    fn page(&self, asked: &ListVideos) -> ToolResult<VideoList> {
        let now = time::now();
        let when = |text: &Option<String>| {
            text.as_deref()
                .map(|text| parse_when(text, now, &Local))
                .transpose()
                .map_err(|error| Problem::misuse(error.to_string()))
        };
        let below = match &asked.cursor {
            None => None,
            Some(cursor) => Some(RowId(cursor.parse().map_err(|_| {
                Problem::usage(
                    "not a cursor of list_videos",
                    "leave it out for the first page",
                )
            })?)),
        };
        let filter = Filter {
            statuses: asked.status.clone(),
            unfinished: asked.unfinished,
            failed: asked.failed,
            kinds: Vec::new(),
            since: when(&asked.since)?,
            until: when(&asked.until)?,
            tags: asked.tags.clone(),
            search: asked.search.clone(),
        };
        let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let videos = match self.read(|tx| tx.list(&filter, below, limit)) {
            Err(failure) if failure.is_not_found() => Vec::new(),
            videos => videos?,
        };
        let more = videos.len() == limit as usize;
        Ok(VideoList {
            next_cursor: videos
                .last()
                .filter(|_| more)
                .map(|video| video.id.to_string()),
            videos: videos.iter().map(info).collect(),
        })
    }

    async fn check(
        &self,
        asked: CheckVideos,
        context: &RequestContext<RoleServer>,
    ) -> ToolResult<CheckAnswer> {
        let mut arguments = Vec::new();
        if asked.no_download {
            arguments.push("--no-download".to_owned());
        }
        arguments.push("--".to_owned());
        arguments.extend(asked.ids.iter().map(VideoRef::text));
        let mut answer = CheckAnswer::default();
        for line in self.verb("check", arguments, Vec::new(), context).await? {
            match line["type"].as_str() {
                Some("change") => answer.changes.push(line),
                Some("saved") => answer.saved.push(line),
                // Without a usable key nobody was asked: that is no answer.
                Some("error") if line["error"]["code"] == code::AUTH => {
                    let error = serde_json::from_value(line["error"].clone());
                    return Err(error.unwrap_or_else(|_| ToolError::local("no usable key")));
                }
                Some("error" | "stalled") => answer.errors.push(line),
                Some("summary") => {
                    answer.unfinished = line["unfinished"].as_u64();
                    answer.next_check_seconds = line["next_check_seconds"].as_u64();
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    /// Submits through a verb that takes the options of `submit`.
    async fn submission(
        &self,
        verb: &str,
        mut arguments: Vec<String>,
        dry_run: bool,
        input: Vec<u8>,
        context: &RequestContext<RoleServer>,
    ) -> ToolResult<Submission> {
        arguments.insert(0, format!("--max-per-day={}", self.max_per_day));
        if dry_run {
            arguments.insert(0, "--dry-run".to_owned());
        }
        let printed = self.verb(verb, arguments, input, context).await?;
        let first = printed.into_iter().next().unwrap_or_default();
        let submitted = match self.read(|tx| tx.submitted_since(time::now().before(DAY))) {
            Err(failure) if failure.is_not_found() => 0,
            submitted => submitted?,
        };
        Ok(Submission {
            video: (!dry_run).then(|| serde_json::from_value(first.clone()).unwrap_or_default()),
            dry_run: dry_run.then_some(first),
            left_today: u64::from(self.max_per_day).saturating_sub(submitted),
        })
    }

    /// The tools of this server; the ones that spend are not there unless allowed.
    fn tools(&self) -> ToolRouter<Self> {
        let mut tools = Self::tool_router();
        if !self.allow_submit {
            for name in SPENDING {
                tools.remove_route(name);
            }
        }
        tools
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const SPENDING: [&str; 3] = ["submit_video", "retry_video", "reply_to_agent"];

/// A client that wants to see how it goes hears of each result.
async fn report_progress(context: &RequestContext<RoleServer>, done: usize, line: &Value) {
    if let Some(token) = context.meta.get_progress_token() {
        let mut progress = ProgressNotificationParam::new(token, done as f64 + 1.0);
        progress.message = line["type"].as_str().map(|word| match line["id"].as_i64() {
            Some(id) => format!("{word} {id}"),
            None => word.to_owned(),
        });
        // A client that went away misses nothing.
        context.peer.notify_progress(progress).await.ok();
    }
}

#[tool_router]
impl McpServer {
    #[tool(
        description = "One video: status, title, duration, files on disk, why it failed. Asks HeyGen first when it is \
            unfinished and was not asked for a minute. An id that no row knows is looked up at HeyGen (tracked: false).",
        output_schema = schema::<VideoAnswer>(),
        annotations(title = "Get a video", read_only_hint = true, destructive_hint = false, idempotent_hint = true, open_world_hint = true)
    )]
    async fn get_video(
        &self,
        Parameters(asked): Parameters<GetVideo>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        answered(self.video(asked, &context).await, |answer| {
            line(&answer.video)
        })
    }

    #[tool(
        description = "The history, newest first, by status, tag, text or date; 20 a page. Reads the local table only.",
        output_schema = schema::<VideoList>(),
        annotations(title = "List videos", read_only_hint = true, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn list_videos(&self, Parameters(asked): Parameters<ListVideos>) -> CallToolResult {
        answered(self.page(&asked), |page| {
            let lines: Vec<String> = page.videos.iter().map(line).collect();
            if lines.is_empty() {
                "no videos".to_owned()
            } else {
                lines.join("\n")
            }
        })
    }

    #[tool(
        description = "The history in numbers: how many videos have which status, how long rendering takes, minutes by month.",
        output_schema = schema::<StatsAnswer>(),
        annotations(title = "Statistics", read_only_hint = true, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn get_stats(&self) -> CallToolResult {
        let stats = match self.read(|tx| tx.stats(&Filter::default())) {
            Err(failure) if failure.is_not_found() => Ok(Map::new()),
            stats => stats.map(|stats| match serde_json::to_value(stats) {
                Ok(Value::Object(stats)) => stats,
                Ok(_) | Err(_) => Map::new(),
            }),
        };
        answered(stats.map(|stats| StatsAnswer { stats }), |answer| {
            Value::Object(answer.stats.clone()).to_string()
        })
    }

    #[tool(
        description = "One pass over everything unfinished, or the named videos: sends what is recorded and not sent, asks \
            HeyGen once for each, downloads what is ready. Costs nothing. Returns at once when nothing is ready: call it again \
            after next_check_seconds.",
        output_schema = schema::<CheckAnswer>(),
        annotations(title = "Check videos", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = true)
    )]
    async fn check_videos(
        &self,
        Parameters(asked): Parameters<CheckVideos>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        answered(self.check(asked, &context).await, |answer| {
            let (changes, saved, errors) = (
                answer.changes.len(),
                answer.saved.len(),
                answer.errors.len(),
            );
            let unfinished = answer.unfinished.unwrap_or_default();
            format!(
                "{changes} changed, {saved} files saved, {errors} in trouble, {unfinished} unfinished"
            )
        })
    }

    #[tool(
        description = "Download a completed video's files again, or other files of it.",
        output_schema = schema::<Rows>(),
        annotations(title = "Download a video", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = true)
    )]
    async fn download_video(
        &self,
        Parameters(asked): Parameters<DownloadVideo>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let mut arguments = Vec::new();
        if !asked.assets.is_empty() {
            arguments.push(format!("--assets={}", asked.assets.join(",")));
        }
        arguments.extend(["--".to_owned(), asked.id.text()]);
        let done = self.verb("download", arguments, Vec::new(), &context).await;
        answered(self.one_row(done, &asked.id), |rows| {
            rows.videos.iter().map(line).collect()
        })
    }

    #[tool(
        description = "Record a video that was made elsewhere, by HeyGen's id: from then on check_videos looks after it. No network.",
        output_schema = schema::<Rows>(),
        annotations(title = "Track a video", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn track_video(
        &self,
        Parameters(asked): Parameters<TrackVideo>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let tags = asked.tags.iter().map(|tag| format!("--tag={tag}"));
        let arguments: Vec<String> = tags
            .chain(["--".to_owned(), asked.video_id.clone()])
            .collect();
        let done = self.verb("add", arguments, Vec::new(), &context).await;
        answered(
            self.one_row(done, &VideoRef::Text(asked.video_id)),
            |rows| rows.videos.iter().map(line).collect(),
        )
    }

    #[tool(
        description = "Submit a video to HeyGen. THIS MAY COST MONEY. The row is recorded before anything is sent, so an error \
            never means that you should submit again: the same request_key is the same row for ever, and check_videos goes on \
            with it. A body that is in progress or was completed within 24 hours is not submitted again.",
        output_schema = schema::<Submission>(),
        annotations(title = "Submit a video (may cost money)", read_only_hint = false, destructive_hint = false, idempotent_hint = false, open_world_hint = true)
    )]
    async fn submit_video(
        &self,
        Parameters(asked): Parameters<SubmitVideo>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let mut arguments: Vec<String> = asked
            .tags
            .iter()
            .map(|tag| format!("--tag={tag}"))
            .collect();
        arguments.extend(asked.kind.map(|kind| format!("--kind={kind}")));
        arguments.extend(asked.template_id.map(|id| format!("--template={id}")));
        arguments.extend(asked.request_key.map(|key| format!("--request-key={key}")));
        if !asked.allow_duplicate {
            arguments.push("--if-new".to_owned());
        }
        arguments.push("-".to_owned());
        let body = Value::Object(asked.body).to_string().into_bytes();
        answered(
            self.submission("submit", arguments, asked.dry_run, body, &context)
                .await,
            said,
        )
    }

    #[tool(
        description = "Submit a failed, rejected, unknown or missing video once more. THIS MAY COST MONEY. The same retry again \
            is the same row.",
        output_schema = schema::<Submission>(),
        annotations(title = "Retry a video (may cost money)", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = true)
    )]
    async fn retry_video(
        &self,
        Parameters(asked): Parameters<RetryVideo>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let arguments = vec!["--".to_owned(), asked.id.text()];
        answered(
            self.submission("retry", arguments, asked.dry_run, Vec::new(), &context)
                .await,
            said,
        )
    }

    #[tool(
        description = "Answer an agent's session that waits for a person, or ask one that failed to go on. THIS MAY COST MONEY: it \
            starts a render. The answer is recorded before it is sent: do not repeat it because an answer is late.",
        output_schema = schema::<Rows>(),
        annotations(title = "Reply to an agent (may cost money)", read_only_hint = false, destructive_hint = false, idempotent_hint = false, open_world_hint = true)
    )]
    async fn reply_to_agent(
        &self,
        Parameters(asked): Parameters<ReplyToAgent>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        // Over stdin: an argument that begins with @ would name a file.
        let arguments = ["--".to_owned(), asked.id.text(), "@-".to_owned()];
        let said = asked.text.into_bytes();
        let done = self.verb("reply", arguments, said, &context).await;
        answered(self.one_row(done, &asked.id), |rows| {
            rows.videos.iter().map(line).collect()
        })
    }
}

fn said(submission: &Submission) -> String {
    let what = match &submission.video {
        Some(video) => line(video),
        None => "nothing was recorded or sent".to_owned(),
    };
    format!(
        "{what}; {} more can be submitted today",
        submission.left_today
    )
}

#[tool_handler(router = self.tools())]
impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "heygen-tracker",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(RULES)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let video = ResourceTemplate::new("tracker://videos/{id}", "video")
            .with_title("A video's row")
            .with_mime_type("application/json");
        Ok(ListResourceTemplatesResult::with_all_items(vec![video]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let unknown = || ErrorData::resource_not_found("tracker://videos/ID names a row", None);
        let id = request
            .uri
            .strip_prefix("tracker://videos/")
            .ok_or_else(unknown)?;
        let video = self
            .row(&VideoRef::Text(id.to_owned()))
            .map_err(|_| unknown())?;
        let text = serde_json::to_string(&info(&video)).map_err(|_| unknown())?;
        let contents = ResourceContents::text(text, request.uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}
