//! Debian 12, as it installs itself, from its own disk: it boots, logs in, and is switched off.
