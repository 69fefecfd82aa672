//! `tracker`: a durable, resumable job tracker for HeyGen videos.

pub mod download;
pub mod time;
pub mod video;
