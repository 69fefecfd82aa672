//! `tracker`: a durable, resumable job tracker for HeyGen videos.

pub mod http;
pub mod sandbox;
pub mod time;
pub mod video;
