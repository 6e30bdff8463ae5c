//! Requests about single instances.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use kiln_model::InstanceId;
use kiln_provider::{ExecResult, Provider};

use super::Desk;
use super::answer::{Answer, read};
use crate::api::{InstanceStatus, InstancesAnswer};
use crate::traffic::Traffic;

pub(super) async fn all<P: Provider, T: Traffic>(State(desk): State<Desk<P, T>>) -> Answer<InstancesAnswer> {
    desk.control.instances().await.map(Json)
}

pub(super) async fn one<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Path(id): Path<InstanceId>,
) -> Answer<InstanceStatus> {
    desk.control.instance(&id).await.map(Json)
}

pub(super) async fn stop<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Path(id): Path<InstanceId>,
    body: Bytes,
) -> Answer<InstanceStatus> {
    desk.control.stop_instance(&id, read(&body)?).await.map(Json)
}

pub(super) async fn taint<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Path(id): Path<InstanceId>,
    body: Bytes,
) -> Answer<InstanceStatus> {
    desk.control.taint(&id, read(&body)?).await.map(Json)
}

pub(super) async fn exec<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Path(id): Path<InstanceId>,
    body: Bytes,
) -> Answer<ExecResult> {
    desk.control.exec(&id, read(&body)?).await.map(Json)
}
