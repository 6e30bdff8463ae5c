//! One function for each request: read, call one operation, answer.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use kiln_provider::Provider;

use super::Desk;
use super::answer::{Answer, read};
use crate::api::*;
use crate::ops;
use crate::traffic::Traffic;

pub(super) async fn version() -> Json<VersionAnswer> {
    Json(ops::version())
}

pub(super) async fn deploy<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<DeployAnswer> {
    desk.control.deploy(read(&body)?).await.map(Json)
}

pub(super) async fn plan<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<PlanAnswer> {
    desk.control.plan(read(&body)?).await.map(Json)
}

pub(super) async fn rollback<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<RollbackAnswer> {
    desk.control.rollback(read(&body)?).await.map(Json)
}

pub(super) async fn abort<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<AbortAnswer> {
    desk.control.abort(read(&body)?).await.map(Json)
}

pub(super) async fn pause<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<HandAnswer> {
    desk.control.pause(read(&body)?).await.map(Json)
}

pub(super) async fn resume<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<HandAnswer> {
    desk.control.resume(read(&body)?).await.map(Json)
}

pub(super) async fn promote<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<HandAnswer> {
    desk.control.promote(read(&body)?).await.map(Json)
}

pub(super) async fn retry<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<HandAnswer> {
    desk.control.retry(read(&body)?).await.map(Json)
}

pub(super) async fn down<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<DownAnswer> {
    desk.control.down(read(&body)?).await.map(Json)
}

pub(super) async fn lift<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<LiftAnswer> {
    desk.control.lift(read(&body)?).await.map(Json)
}

pub(super) async fn prove<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<ProveAnswer> {
    desk.control.prove(read(&body)?).await.map(Json)
}

pub(super) async fn compare<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<CompareAnswer> {
    desk.control.compare(read(&body)?).await.map(Json)
}

pub(super) async fn status<P: Provider, T: Traffic>(State(desk): State<Desk<P, T>>) -> Answer<StatusAnswer> {
    desk.control.status().await.map(Json)
}

pub(super) async fn history<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Query(query): Query<HistoryQuery>,
) -> Answer<HistoryAnswer> {
    desk.control.history(query).await.map(Json)
}

pub(super) async fn references<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
) -> Answer<ReferencesAnswer> {
    desk.control.references().await.map(Json)
}

pub(super) async fn shutdown<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    body: Bytes,
) -> Answer<VersionAnswer> {
    let request = read(&body)?;
    desk.shutdown.send_replace(Some(request));
    Ok(Json(ops::version()))
}
