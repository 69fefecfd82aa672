//! The tools. Each says to a model what it does, what it costs and what to do next.

use std::pin::Pin;
use std::time::Duration;

use chrono::Local;
use rmcp::handler::server::common::schema_for_type;
use rmcp::handler::server::router::tool::{ToolRoute, ToolRouter};
use rmcp::handler::server::tool::parse_json_object;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, JsonObject, ListResourceTemplatesResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    ResourceContents, ResourceTemplate, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, tool_handler};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::McpServer;
use super::child::{self, Asking, local, problem, with_first_hint};
use super::types::{
    CheckAnswer, CheckVideos, DownloadVideo, GetStats, GetVideo, ListVideos, ReplyToAgent,
    RetryVideo, StatsAnswer, Submission, SubmitVideo, TrackVideo, VideoAnswer, VideoInfo,
    VideoList, VideoRef,
};
use crate::error::{Problem, code};
use crate::pass::Access;
use crate::render::fields::Field;
use crate::render::json::VideoObject;
use crate::render::show::lost_hint;
use crate::rows::{find_video, is_file};
use crate::store::{Filter, Store, Tx};
use crate::time;
use crate::typed::{Tags, statuses};
use crate::video::{MessageState, Phase, RowId, Video, VideoId};
use crate::when::{parse_until, parse_when};

const RULES: &str = "\
A durable table of HeyGen videos on this machine. Rendering takes 5 to 20 minutes: do not wait in a loop; call \
check_videos when next_check_seconds have passed, or let cron run `tracker check`. Submitting costs money: use \
dry_run first, give a request_key, and never submit again because an answer is late: the row is recorded and \
check_videos goes on with it.";

/// Older answers of HeyGen's are asked for again when a model asks for an unfinished video.
const STALE: Duration = Duration::from_secs(60);
const PAGE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

/// As data, and for a person.
type ToolResult<T> = Result<(T, String), Problem>;
type Answering<'a, T> = Pin<Box<dyn Future<Output = ToolResult<T>> + Send + 'a>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    ReadsAndAsks,
    Records,
    Works,
    /// Again and again, if called again.
    Submits,
}

/// A tool as clients see it, and the work behind it.
fn tool<A, T>(
    name: &'static str,
    title: &str,
    effect: Effect,
    description: &'static str,
    work: for<'a> fn(ToolCall<'a>, A) -> Answering<'a, T>,
) -> ToolRoute<McpServer>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    T: Serialize + JsonSchema + Send + 'static,
{
    let reads = matches!(effect, Effect::Reads | Effect::ReadsAndAsks);
    let annotations = ToolAnnotations::with_title(title)
        .read_only(reads)
        .destructive(false)
        .idempotent(effect != Effect::Submits)
        .open_world(!matches!(effect, Effect::Reads | Effect::Records));
    let tool = Tool::new(name, description, JsonObject::new())
        .with_title(title)
        .with_input_schema::<A>()
        .with_raw_output_schema(schema_for_type::<T>())
        .with_annotations(annotations);
    ToolRoute::new_dyn(tool, move |context| {
        Box::pin(async move {
            let call = ToolCall {
                server: context.service,
                context: &context.request_context,
            };
            let answer = match parse_json_object(context.arguments.unwrap_or_default()) {
                Ok(asked) => work(call, asked).await,
                Err(error) => Err(Problem::usage(error.message, "see the tool's input schema")),
            };
            Ok(answer.map_or_else(refused, answered).into())
        })
    })
}

fn answered((answer, text): (impl Serialize, String)) -> CallToolResult {
    let mut result = CallToolResult::structured(serde_json::to_value(answer).unwrap_or_default());
    result.content = vec![ContentBlock::text(text)];
    result
}

/// As text: structured content would have to fit the schema of the tool's answers.
fn refused(problem: Problem) -> CallToolResult {
    let error = json!({"code": problem.code, "message": problem.message, "hint": problem.hint});
    CallToolResult::error(vec![ContentBlock::text(error.to_string())])
}

fn free_tools() -> [ToolRoute<McpServer>; 6] {
    [
        tool(
            "get_video",
            "Get a video",
            Effect::ReadsAndAsks,
            "One video: status, title, duration, files on disk, why it failed. Asks HeyGen first when it is unfinished \
             and was not asked for a minute. An id that no row knows is looked up at HeyGen (tracked: false).",
            |call, asked| Box::pin(call.get_video(asked)),
        ),
        tool(
            "list_videos",
            "List videos",
            Effect::Reads,
            "The history, newest first, by status, kind, tag, text or date; 20 a page. Reads the local table only.",
            |call, asked| Box::pin(async move { call.server.list_videos(asked) }),
        ),
        tool(
            "get_stats",
            "Statistics",
            Effect::Reads,
            "The history in numbers: how many videos have which status, how long rendering takes, minutes by month.",
            |call, _: GetStats| Box::pin(async move { call.server.get_stats() }),
        ),
        tool(
            "check_videos",
            "Check videos",
            Effect::Works,
            "One pass over everything unfinished, or the named videos: sends what is recorded and not sent, asks HeyGen \
             once for each, downloads what is ready. Costs nothing. Returns at once when nothing is ready: call it again \
             after next_check_seconds.",
            |call, asked| Box::pin(call.check_videos(asked)),
        ),
        tool(
            "download_video",
            "Download a video",
            Effect::Works,
            "Download a completed video's files again, or other files of it.",
            |call, asked| Box::pin(call.download_video(asked)),
        ),
        tool(
            "track_video",
            "Track a video",
            Effect::Records,
            "Record a video that was made elsewhere, by HeyGen's id: from then on check_videos looks after it. No network.",
            |call, asked| Box::pin(call.track_video(asked)),
        ),
    ]
}

fn spending_tools() -> [ToolRoute<McpServer>; 3] {
    [
        tool(
            "submit_video",
            "Submit a video (may cost money)",
            Effect::Submits,
            "Submit a video to HeyGen. THIS MAY COST MONEY. The row is recorded before anything is sent, so an error never \
             means that you should submit again: the same request_key is the same row for ever, and check_videos goes on \
             with it. A body that is in progress, or was submitted within 24 hours and completed or never answered, is not \
             submitted again.",
            |call, asked| Box::pin(call.submit_video(asked)),
        ),
        tool(
            "retry_video",
            "Retry a video (may cost money)",
            Effect::Works,
            "Submit a failed, rejected, unknown or missing video once more. THIS MAY COST MONEY. HeyGen may have created \
             and charged for an unknown one already: look at its candidates and ask the user first. The same retry again \
             is the same row.",
            |call, asked| Box::pin(call.retry_video(asked)),
        ),
        tool(
            "reply_to_agent",
            "Reply to an agent (may cost money)",
            Effect::Submits,
            "Answer an agent's session that waits for a person, or ask one that failed to go on. THIS MAY COST MONEY: it \
             starts a render. The answer is recorded before it is sent: do not repeat it because an answer is late.",
            |call, asked| Box::pin(call.reply_to_agent(asked)),
        ),
    ]
}

fn info(video: &Video) -> VideoInfo {
    let object = VideoObject {
        video,
        fields: Field::ALL,
    };
    serde_json::to_value(object).unwrap_or_default().into()
}

fn seen(video: VideoInfo, tracked: bool, timeline: Option<Vec<Value>>) -> (VideoAnswer, String) {
    let text = video.to_string();
    let answer = VideoAnswer {
        video,
        tracked,
        timeline,
    };
    (answer, text)
}

fn listed(videos: Vec<VideoInfo>, next_cursor: Option<String>) -> (VideoList, String) {
    let lines: Vec<String> = videos.iter().map(ToString::to_string).collect();
    let text = match lines.as_slice() {
        [] => "no videos".to_owned(),
        lines => lines.join("\n"),
    };
    let list = VideoList {
        videos,
        next_cursor,
    };
    (list, text)
}

fn only(video: &Video) -> (VideoList, String) {
    listed(vec![info(video)], None)
}

/// What `check_videos` answers for a row that was held back.
fn held_back(video: &Video) -> Value {
    let error = video.last_error.as_ref();
    let message = error.map_or_else(String::new, |error| error.message.clone());
    let problem = Problem::new(code::SUBMIT_UNKNOWN, message).with_hint(lost_hint(video));
    json!({"type": "error", "id": video.id, "error": problem})
}

/// What a verb says went wrong with its row or the whole run. A wrong clock and the user's hook leave nothing undone.
fn trouble(lines: &[Value], row: RowId) -> Option<Problem> {
    let errors = lines.iter().filter(|line| line["type"] == "error");
    let of_it = errors.filter(|line| line["id"].is_null() || line["id"] == row.0);
    of_it
        .filter_map(|line| problem(&line["error"]))
        .find(|problem| ![code::CLOCK_SKEW, "hook_failed"].contains(&&*problem.code))
}

/// What is missing, or a database that is, where that is an answer too.
fn or_none<T>(found: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match found {
        Err(problem) if [code::NOT_FOUND, code::NO_DATABASE].contains(&&*problem.code) => Ok(None),
        found => found.map(Some),
    }
}

fn options<'a>(
    name: &'static str,
    values: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = String> {
    let option = move |value| format!("--{name}={value}");
    values.into_iter().map(option)
}

fn flag(name: &str, is_set: bool) -> Option<String> {
    is_set.then(|| format!("--{name}"))
}

impl McpServer {
    fn read<T>(&self, look: impl FnOnce(&Tx<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
        Store::open_for_reading(&self.database)?.read(look)
    }

    fn row(&self, id: &str) -> Result<Video, Problem> {
        self.read(|tx| find_video(tx, id, true))
    }

    /// What HeyGen says now of a video that no row knows.
    async fn untracked(&self, id: String) -> Result<VideoInfo, Problem> {
        let env = self.env.clone();
        let asked = tokio::task::spawn_blocking(move || -> Result<VideoInfo, Problem> {
            let video_id = VideoId::new(id.as_str()).ok_or_else(|| Problem::not_found(&id))?;
            let remote = Access::resolve(&env)?.client.video(&video_id)?;
            Ok(remote.into())
        });
        asked.await.map_err(local)?
    }

    fn list_videos(&self, asked: ListVideos) -> ToolResult<VideoList> {
        let since = |text: &str| parse_when(text, time::now(), &Local);
        let until = |text: &str| parse_until(text, time::now(), &Local);
        let hint = "leave it out for the first page";
        let unknown = |_| Problem::usage("not a cursor of list_videos", hint);
        let below = asked.cursor.map(|cursor| cursor.parse().map(RowId));
        let below = below.transpose().map_err(unknown)?;
        let kinds = asked.kind.iter().map(|word| {
            let hint = "video, agent, template, translation, lipsync or model";
            let unknown = |()| Problem::usage(format!("there is no kind {word:?}"), hint);
            word.parse().map_err(unknown)
        });
        let tags = asked.tags.iter().map(|text| {
            let hint = "leave tags out for videos with any";
            let unusable = |why| Problem::usage(format!("tags: {text:?}: {why}"), hint);
            text.parse::<Tags>().map_err(unusable)
        });
        let mut filter = Filter {
            statuses: Vec::new(),
            unfinished: asked.unfinished,
            failed: asked.failed,
            kinds: kinds.collect::<Result<_, _>>()?,
            since: asked.since.as_deref().map(since).transpose()?,
            until: asked.until.as_deref().map(until).transpose()?,
            tags: Tags::all(&tags.collect::<Result<Vec<_>, _>>()?),
            search: asked.search,
        };
        let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        // An empty list would be taken for an answer.
        let unknown = |word: &str, here: &str| {
            let hint = match here {
                "" => "there are no videos yet".to_owned(),
                here => format!("the status words here: {here}"),
            };
            Err(Problem::usage(format!("no video is {word:?}"), hint))
        };
        let page = self.read(|tx| {
            filter.statuses = statuses(tx, &asked.status, unknown)?;
            tx.list(&filter, below, limit)
        });
        let videos = or_none(page)?.unwrap_or_default();
        let last = videos.last().filter(|_| videos.len() == limit as usize);
        let next_cursor = last.map(|video| video.id.to_string());
        Ok(listed(videos.iter().map(info).collect(), next_cursor))
    }

    fn get_stats(&self) -> ToolResult<StatsAnswer> {
        let stats = or_none(self.read(|tx| tx.stats(&Filter::default())))?;
        let stats = match stats.map(serde_json::to_value) {
            Some(Ok(Value::Object(stats))) => stats,
            _ => Map::new(),
        };
        let text = serde_json::to_string(&stats).unwrap_or_default();
        Ok((StatsAnswer { stats }, text))
    }

    fn tools(&self) -> ToolRouter<Self> {
        let mut tools = Vec::from(free_tools());
        if self.allow_submit {
            tools.extend(spending_tools());
        }
        let mut router = ToolRouter::new();
        tools.into_iter().for_each(|tool| router.add_route(tool));
        router
    }
}

#[derive(Clone, Copy)]
struct ToolCall<'a> {
    server: &'a McpServer,
    context: &'a Asking,
}

impl ToolCall<'_> {
    async fn verb(
        self,
        verb: &str,
        options: impl IntoIterator<Item = String>,
        operands: &[&str],
        input: Vec<u8>,
    ) -> Result<Vec<Value>, Problem> {
        let _turn = self.server.turn.lock().await;
        let database = self.server.database.clone();
        let mut command = vec!["--db".into(), database.into(), "--json".into(), verb.into()];
        command.extend(options.into_iter().map(Into::into));
        command.push("--".into());
        command.extend(operands.iter().map(Into::into));
        tokio::select! {
            // What was done before a problem is true all the same.
            ended = child::run(command, input, self.context) => ended,
            () = self.context.ct.cancelled() => {
                Err(local("cancelled; the next check goes on from here"))
            }
        }
    }

    async fn get_video(self, asked: GetVideo) -> ToolResult<VideoAnswer> {
        let id = asked.id.text();
        let is_local = id.parse::<i64>().is_ok();
        let Some(mut video) = (match self.server.row(&id) {
            Err(problem) if is_local => return Err(problem),
            found => or_none(found)?,
        }) else {
            return Ok(seen(self.server.untracked(id).await?, false, None));
        };
        let row = video.id.to_string();
        let stale = |at| time::now().since(at) >= STALE;
        let was_sent = video.phase != Phase::Unsent;
        if was_sent && !video.finished && video.last_checked_at.is_none_or(stale) {
            let only_ask = ["--no-download", "--keep-held"].map(str::to_owned);
            // An outage is no reason to keep back what is known; the row's last_error tells of it.
            self.verb("check", only_ask, &[&row], Vec::new()).await.ok();
            video = self.server.row(&row)?;
        }
        let mut timeline = None;
        if asked.timeline {
            let events = self.server.read(|tx| tx.timeline(video.id))?;
            let events = events.iter().map(serde_json::to_value);
            timeline = Some(events.filter_map(Result::ok).collect());
        }
        Ok(seen(info(&video), true, timeline))
    }

    async fn check_videos(self, asked: CheckVideos) -> ToolResult<CheckAnswer> {
        let options = flag("no-download", asked.no_download);
        let options = options.into_iter().chain(flag("keep-held", true));
        let ids: Vec<String> = asked.ids.iter().map(VideoRef::text).collect();
        let mut answer = CheckAnswer::default();
        let held = ids.iter().filter_map(|id| self.server.row(id).ok());
        let held = held.filter(Video::is_held);
        answer.errors.extend(held.map(|video| held_back(&video)));
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for line in self.verb("check", options, &ids, Vec::new()).await? {
            match line["type"].as_str() {
                Some("change") => answer.changes.push(line),
                Some("saved") => answer.saved.push(line),
                // Without a usable key nobody was asked: that is no answer.
                Some("error") if line["error"]["code"] == code::AUTH => {
                    return Err(problem(&line["error"]).unwrap_or_else(|| local("no usable key")));
                }
                Some("message") if line["state"] == "sent" => {}
                Some("unavailable") if line["asset"] != "video" => {}
                Some("error" | "stalled" | "message" | "unavailable") => answer.errors.push(line),
                Some("summary") => {
                    answer.unfinished = line["unfinished"].as_u64();
                    answer.next_check_seconds = line["next_check_seconds"].as_u64();
                }
                _ => {}
            }
        }
        let (changes, saved) = (answer.changes.len(), answer.saved.len());
        let (errors, unfinished) = (answer.errors.len(), answer.unfinished.unwrap_or_default());
        let text = format!(
            "{changes} changed, {saved} files saved, {errors} in trouble, {unfinished} unfinished"
        );
        Ok((answer, text))
    }

    async fn download_video(self, asked: DownloadVideo) -> ToolResult<VideoList> {
        let id = asked.id.text();
        let assets = (!asked.assets.is_empty()).then(|| asked.assets.join(","));
        let assets = options("assets", &assets);
        let lines = self.verb("download", assets, &[&id], Vec::new()).await?;
        let video = self.server.row(&id)?;
        trouble(&lines, video.id).map_or_else(|| Ok(only(&video)), Err)
    }

    async fn track_video(self, asked: TrackVideo) -> ToolResult<VideoList> {
        let id = &asked.video_id;
        if id == "-" || is_file(id.as_ref()) {
            let hint = "its id as HeyGen shows it, not a file";
            return Err(Problem::usage(format!("{id:?} is not a video id"), hint));
        }
        let options = options("tag", &asked.tags).chain(options("kind", &asked.kind));
        self.verb("add", options, &[id], Vec::new()).await?;
        Ok(only(&self.server.row(id)?))
    }

    async fn reply_to_agent(self, asked: ReplyToAgent) -> ToolResult<VideoList> {
        let id = asked.id.text();
        // Over stdin: an argument that begins with @ would name a file.
        let said = asked.text.into_bytes();
        let lines = self.verb("reply", None, &[&id, "@-"], said).await?;
        let video = self.server.row(&id)?;
        let is_it = |line: &&Value| {
            line["type"] == "message" && line["message"] == "reply" && line["id"] == video.id.0
        };
        let message = lines.iter().rfind(is_it).unwrap_or(&Value::Null);
        let failed = |why: &str| Problem::new("reply_failed", why);
        let (problem, hint) = match message["state"].as_str().map(str::parse) {
            Some(Ok(MessageState::Sent)) => return Ok(only(&video)),
            Some(Ok(MessageState::Refused)) => {
                let why = message["why"].as_str().unwrap_or_default();
                let problem = failed(&format!("HeyGen refused the reply: {why}"));
                (problem, "it is not sent again by itself")
            }
            Some(Ok(MessageState::Unsent)) => (
                trouble(&lines, video.id).unwrap_or_else(|| failed("HeyGen cannot take it now")),
                "the reply is recorded: do not repeat it, check_videos sends it",
            ),
            _ => (
                failed("no answer came: HeyGen may have the reply"),
                "do not repeat it, that may start a second render: get_video shows whether it goes on",
            ),
        };
        Err(with_first_hint(problem, hint.to_owned()))
    }

    async fn submit_video(self, asked: SubmitVideo) -> ToolResult<Submission> {
        let options = options("tag", &asked.tags)
            .chain(options("kind", &asked.kind))
            .chain(options("template", &asked.template_id))
            .chain(options("request-key", &asked.request_key))
            .chain(flag("if-new", !asked.allow_duplicate));
        let body = Value::Object(asked.body).to_string().into_bytes();
        self.submit("submit", options, asked.dry_run, "-", body)
            .await
    }

    async fn retry_video(self, asked: RetryVideo) -> ToolResult<Submission> {
        let id = asked.id.text();
        self.submit("retry", None, asked.dry_run, &id, Vec::new())
            .await
    }

    async fn submit(
        self,
        verb: &str,
        options: impl IntoIterator<Item = String>,
        dry_run: bool,
        operand: &str,
        input: Vec<u8>,
    ) -> ToolResult<Submission> {
        let most = self.server.max_per_day;
        let options = options.into_iter().chain(flag("dry-run", dry_run));
        let options = options.chain([format!("--max-per-day={most}")]);
        let printed = self.verb(verb, options, &[operand], input).await?;
        let first = printed.into_iter().next().unwrap_or_default();
        let today = |tx: &Tx<'_>| tx.submitted_since(time::now().before(time::DAY));
        let (submitted, _) = or_none(self.server.read(today))?.unwrap_or_default();
        let left_today = most.saturating_sub(submitted);
        let (mut video, mut what) = (None, "nothing was recorded or sent".to_owned());
        if !dry_run {
            let row = VideoInfo::from(first.clone());
            (what, video) = (row.to_string(), Some(row));
        }
        let answer = Submission {
            video,
            dry_run: dry_run.then_some(first),
            left_today,
        };
        let text = format!("{what}; {left_today} more can be submitted, {most} in any 24 hours");
        Ok((answer, text))
    }
}

#[tool_handler(router = self.tools())]
impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .build();
        let server = Implementation::new("heygen-tracker", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities)
            .with_server_info(server)
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
        let id = request.uri.strip_prefix("tracker://videos/");
        let video = self.row(id.ok_or_else(unknown)?).map_err(|_| unknown())?;
        let text = serde_json::to_string(&info(&video)).map_err(|_| unknown())?;
        let contents = ResourceContents::text(text, request.uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}
