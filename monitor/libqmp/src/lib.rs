//! libqmp: the typed QMP client.
