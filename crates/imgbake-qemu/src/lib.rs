//! The QEMU builder: argv, QMP, firmware, the proof of KVM.
