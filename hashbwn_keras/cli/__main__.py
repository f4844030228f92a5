"""``python -m hashbwn_keras.cli`` is ``hashbwn``."""

import sys

from hashbwn_keras.cli import main

sys.exit(main())
