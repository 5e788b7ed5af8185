//! Tells the linker where the back end finds libtorch at run time.

fn main() {
    println!("cargo:rerun-if-env-changed=KRAMMERTI_RELOCATABLE");
    // Beside the back end: the installed layout, which can be moved.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN");
    // Where it was built: a development build, and the tests.
    if std::env::var_os("KRAMMERTI_RELOCATABLE").is_none()
        && let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB")
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
