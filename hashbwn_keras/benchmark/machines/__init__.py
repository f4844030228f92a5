"""What can be measured on: this machine, a phone, anything behind ssh, an emulated processor."""
