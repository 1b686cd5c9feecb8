//! Tags texts inside a program, without HTTP.
//!
//! `cargo run --release --package nerve-engine --example embed`, from the root of the repository. ONNX Runtime is found where
//! `ORT_DYLIB_PATH` says.

use std::error::Error;
use std::time::{Duration, Instant};

use nerve_engine::{Engine, EngineConfig, TagInput, TagOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = EngineConfig::default();
    config.model.address = "./models/default".parse()?;
    let engine = Engine::open(config).await?;
    // Texts are refused until every worker's session has been warmed up.
    engine.ready().await?;

    // A request keeps the version that it began with, whatever is loaded meanwhile.
    let tagger = engine.live();
    let options = TagOptions {
        threshold: Some(0.5),
        ..TagOptions::default()
    };
    let texts = ["Barack Obama met Beyoncé", "Empire State Building in New York"];
    let inputs = texts.map(|text| TagInput::Text(text.to_owned())).to_vec();
    let tagged = tagger.tag(inputs, options.reading()).await?;
    let view = options.view(&tagger.model().labels)?;
    for tagged in tagged {
        let tagged = tagged?;
        for entity in tagger.answer(&tagged, &view).entities {
            println!("{}\t{}\t{:.3}", entity.entity_type, entity.text, entity.score);
        }
    }
    engine.stop(Instant::now() + Duration::from_secs(10)).await;
    Ok(())
}
