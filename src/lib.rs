//! neuronc takes a Hugging Face model to a served AWS Inferentia or Trainium endpoint.
//!
//! A **recipe** (which model, which task, which shapes) and a **profile** (which chip) resolve into
//! a **plan**, plain data that can be printed before anything runs. The **tracer** turns the model,
//! by its **family**, into one **graph** per **bucket** through libtorch. The **compiler** named by
//! the profile turns each graph into an **artifact**. **Coverage** says which operators run on the
//! chip; a **report** says what bundles and compiler logs know of it. Artifacts, tokenizer, coverage and reference outputs are sealed into a **bundle** with a
//! manifest. A **runtime** opens a bundle whose manifest matches the device, and **verify** and
//! **serve** only ever see opened bundles. A **placement** says which bundles run on which cores.
//! **Timings** say how long a chip takes for a bucket, and a **bench** how long a server does.
//!
//! The modules are listed in reading order; each uses only those above it.

pub mod cleanup;
pub mod command;
pub mod failure;
pub mod files;
pub mod host_memory;
pub mod html;
pub mod http_error;
pub mod processes;
pub mod tensor;
pub mod trust;

pub mod bucket;
pub mod cast;
pub mod profile;
pub mod recipe;
pub mod sample;

pub mod explain;
pub mod timings;

pub mod arguments;
pub mod family;
pub mod tokenizer;

pub mod checkpoint;
pub mod executor;
pub mod hub;

pub mod plan;
pub mod reference;

pub mod coverage;

pub mod bundle;

pub mod report;

pub mod compiler;

pub mod runtime;

pub mod task;

pub mod placement;

pub mod doctor;
pub mod embedded;
pub mod verify;

pub mod rehearse;

pub mod serve;

pub mod bench;
pub mod top;

pub mod cli;
