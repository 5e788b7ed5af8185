//! Compiles what is written in C++ against libtorch, and tells the linker where the back end finds
//! libtorch at run time.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=KRAMMERTI_RELOCATABLE");
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    // Beside the back end: the installed layout, which can be moved.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN");
    // Where it was built: a development build, and the tests.
    if env::var_os("KRAMMERTI_RELOCATABLE").is_none()
        && let Some(lib) = &lib
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    compile(lib);
}

/// With the compiler and the flags that torch-sys uses: what compiles the one compiles the other.
fn compile(lib: Option<PathBuf>) {
    const SOURCES: [&str; 7] = [
        "cpp/driver.cpp",
        "cpp/emulated.cpp",
        "cpp/generator.cpp",
        "cpp/graph.cpp",
        "cpp/process.cpp",
        "cpp/recurrent.cpp",
        "cpp/recurrent_gpu.cpp",
    ];
    const READ: [&str; 6] = [
        "cpp/driver.h",
        "cpp/recurrent.h",
        "cpp/recurrent_gpu.h",
        "cpp/told.h",
        "cuda/layer.h",
        "cuda/recurrent.cu",
    ];
    const HEADER: &str = "torch/csrc/autograd/custom_function.h";
    for name in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for source in SOURCES.into_iter().chain(READ) {
        println!("cargo:rerun-if-changed={source}");
    }
    let beside = || Some(lib?.parent()?.join("include"));
    let include = match env::var_os("LIBTORCH_INCLUDE") {
        Some(folder) => Some(PathBuf::from(folder).join("include")),
        None => beside(),
    };
    let include = include.expect("torch-sys does not say where libtorch is");
    assert!(
        include.join(HEADER).exists(),
        "libtorch has no headers: {} is missing in {}; LIBTORCH must name a folder with lib and \
         include, as scripts/setup makes it, or LIBTORCH_INCLUDE one with include",
        HEADER,
        include.display(),
    );
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        // Also for a debug build, or its tests would take minutes.
        .opt_level(3)
        .debug(false)
        .includes([include.join("torch/csrc/api/include"), include])
        .flag("-std=c++17")
        .flag(format!("-D_GLIBCXX_USE_CXX11_ABI={abi}"))
        // Vectors wider than the processor's are passed between inlined functions alone.
        .flag_if_supported("-Wno-psabi")
        .files(SOURCES)
        .compile("krammerti_cpp");
}
