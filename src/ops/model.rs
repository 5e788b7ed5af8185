//! Reads and writes the files of a model.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::misfit_values::misfit_values;
use super::to_json;
use crate::data::Dataset;
use crate::fs::{self, StagedFolder};
use crate::model::{
    Array, Epoch, Forecaster, LoadTask, ModelFile, Registry, Weights, decode_weights,
    encode_weights,
};
use crate::params::Device;
use crate::report;

/// A model that was read from its folder.
pub(super) struct LoadedModel {
    pub(super) file: ModelFile,
    pub(super) forecaster: Box<dyn Forecaster>,
}

pub(super) fn read_model(
    folder: &Path,
    registry: &Registry,
    device: Device,
) -> Result<LoadedModel> {
    let file = read_file(folder)?;
    // Before the weights are read: where the back end is needed, it starts over from here.
    registry.family(file.model.kind())?;
    let weights = read_weights(folder)?;
    let task = LoadTask {
        model: &file.model,
        step: file.step,
        columns: &file.frame_columns(),
        series: &file.series,
        targets: &file.target_scalers(),
        device,
    };
    let forecaster = registry
        .load(&task, &weights)
        .with_context(|| folder.display().to_string())?;
    Ok(LoadedModel { file, forecaster })
}

pub(super) fn read_file(folder: &Path) -> Result<ModelFile> {
    let json = folder.join("model.json");
    super::require_folder_with(folder, "model.json", "model", "train")?;
    ModelFile::parse(&fs::read_to_string(&json)?).with_context(|| json.display().to_string())
}

pub(super) fn read_weights(folder: &Path) -> Result<Weights> {
    let path = folder.join("weights.safetensors");
    let weights = decode_weights(&fs::read(&path)?).with_context(|| {
        let path = path.display();
        format!("{path} is damaged, or no file of weights; train the model again")
    })?;
    let is_odd = |array: &&Array| array.values.iter().any(|value| !value.is_finite());
    if let Some((name, _)) = weights.iter().find(|(_, array)| is_odd(array)) {
        bail!(
            "{}: weight `{name}` holds what is no number; train the model again",
            path.display()
        );
    }
    Ok(weights)
}

impl LoadedModel {
    /// Reads a data set, and refuses one that it does not fit. Also what is to be said of it.
    pub(super) fn read_dataset(
        &self,
        folder: &Path,
        data: &Path,
    ) -> Result<(Dataset, Vec<String>)> {
        let dataset = super::dataset::read_dataset(data)?;
        let what = || format!("{} does not fit {}", folder.display(), data.display());
        self.file.check(&dataset).with_context(what)?;
        let dataset = dataset.sized_as(&self.file.capacity);
        let odd = misfit_values(&dataset, &self.file.scalers());
        Ok((dataset, odd))
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

/// The columns of a `history.csv`.
pub(super) const HISTORY_COLUMNS: [&str; 5] = [
    "epoch",
    "train_loss",
    "validation_loss",
    "validation_rmse_scaled",
    "learning_rate",
];

/// A row of it.
pub(super) fn history_row(e: &Epoch) -> [String; 5] {
    [
        e.epoch.to_string(),
        e.train_loss
            .map_or_else(String::new, |loss| loss.to_string()),
        e.validation_loss.to_string(),
        e.validation_rmse.to_string(),
        e.learning_rate.to_string(),
    ]
}

fn history_csv(history: &[Epoch]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HISTORY_COLUMNS)?;
    for epoch in history {
        writer.write_record(history_row(epoch))?;
    }
    Ok(writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?)
}
