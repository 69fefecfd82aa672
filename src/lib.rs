//! `tracker`: a durable, resumable job tracker for HeyGen videos.

//pub mod cli;
//pub mod commands;
pub mod config;
pub mod decide;
pub mod download;
pub mod error;
pub mod heygen;
pub mod http;
pub mod locks;
pub mod pass;
pub mod render;
pub mod sandbox;
pub mod store;
pub mod time;
pub mod video;
