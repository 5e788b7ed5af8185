//! Reads and writes the files of a model.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::to_json;
use crate::data::Dataset;
use crate::fs::{self, StagedFolder};
use crate::model::{
    Epoch, Forecaster, LoadTask, ModelFile, Registry, Weights, decode_weights, encode_weights,
};
use crate::report;

/// A model that was read from its folder.
pub(super) struct LoadedModel {
    pub(super) file: ModelFile,
    pub(super) forecaster: Box<dyn Forecaster>,
}

pub(super) fn read_model(folder: &Path, registry: &Registry) -> Result<LoadedModel> {
    let json = folder.join("model.json");
    let file: ModelFile = serde_json::from_str(&fs::read_to_string(&json)?)
        .with_context(|| json.display().to_string())?;
    let family = registry.family(file.model.kind())?;
    let path = folder.join("weights.safetensors");
    let weights = decode_weights(&fs::read(&path)?).with_context(|| path.display().to_string())?;
    let task = LoadTask {
        model: &file.model,
        columns: &file.frame_columns(),
        series: &file.series,
        target: file.target_scaler(),
    };
    let forecaster = family
        .load(&task, &weights)
        .with_context(|| folder.display().to_string())?;
    Ok(LoadedModel { file, forecaster })
}

impl LoadedModel {
    /// Refuses a data set that it does not fit.
    pub(super) fn check(&self, folder: &Path, data: &Path, dataset: &Dataset) -> Result<()> {
        let what = || format!("{} does not fit {}", folder.display(), data.display());
        self.file.check(dataset).with_context(what)
    }
}

pub(super) fn write_model(
    folder: &Path,
    file: &ModelFile,
    weights: &Weights,
    history: &[Epoch],
) -> Result<()> {
    let staged = StagedFolder::new(folder)?;
    staged.write("model.json", &to_json(file)?)?;
    staged.write("weights.safetensors", &encode_weights(weights)?)?;
    if !history.is_empty() {
        staged.write("history.csv", &history_csv(history)?)?;
        staged.write("history.svg", report::history_plot(history).as_bytes())?;
    }
    Ok(staged.commit()?)
}

fn history_csv(history: &[Epoch]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "epoch",
        "train_loss",
        "validation_loss",
        "validation_rmse_scaled",
        "learning_rate",
    ])?;
    for e in history {
        let numbers = [
            e.train_loss,
            e.validation_loss,
            e.validation_rmse,
            e.learning_rate,
        ];
        let row = [e.epoch.to_string()]
            .into_iter()
            .chain(numbers.map(|number| number.to_string()));
        writer.write_record(row)?;
    }
    Ok(writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?)
}
