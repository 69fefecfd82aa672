//! Error answers: the API's JSON envelope and the object store's XML.

use serde_json::{Value, json};

use crate::http::Response;

/// `{"error": {"code", "message"}}` with a status.
pub(super) fn error(status: u16, code: &str, message: &str) -> Response {
    json(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

/// 400 `invalid_parameter`, naming the parameter.
pub(super) fn invalid(param: &str, message: &str) -> Response {
    let error = json!({"code": "invalid_parameter", "message": message, "param": param});
    json(400, &json!({"error": error}))
}

/// The envelope HeyGen would send with that status.
pub fn of_status(status: u16) -> Response {
    let (code, message) = match status {
        400 | 422 => ("invalid_parameter", "The request is invalid."),
        401 => ("unauthorized", "The API key is missing or wrong."),
        402 => ("insufficient_credit", "Not enough credit."),
        403 => ("forbidden", "Access denied."),
        404 => ("not_found", "Not found."),
        405 => ("method_not_allowed", "Method not allowed."),
        409 => (
            "request_in_progress",
            "A request with this key is in progress.",
        ),
        413 => ("payload_too_large", "The request is too large."),
        429 => ("rate_limit_exceeded", "Too many requests."),
        500.. => ("internal_error", "Something went wrong."),
        _ => ("error", "Refused."),
    };
    error(status, code, message)
}

/// What an object store answers with that status.
pub fn xml(status: u16) -> Response {
    let (code, message) = match status {
        403 => (
            "AccessDenied",
            "Request has expired or its signature does not match",
        ),
        404 => ("NoSuchKey", "The specified key does not exist."),
        416 => ("InvalidRange", "The requested range is not satisfiable"),
        503 => ("SlowDown", "Please reduce your request rate."),
        500.. => ("InternalError", "We encountered an internal error."),
        _ => ("Error", "Refused."),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    );
    Response::new(status).with_body("application/xml", body)
}

pub(super) fn data(data: &Value) -> Response {
    json(200, &json!({"data": data}))
}

pub(super) fn json(status: u16, value: &Value) -> Response {
    Response::new(status).with_body("application/json", value.to_string())
}
