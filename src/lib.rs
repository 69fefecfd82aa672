//! `tracker`: a durable, resumable job tracker for HeyGen videos.

pub mod heygen;
pub mod time;
pub mod video;
