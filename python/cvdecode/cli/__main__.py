"""python -m cvdecode.cli"""

import sys

from cvdecode.cli import main

sys.exit(main())
