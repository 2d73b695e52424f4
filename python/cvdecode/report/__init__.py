"""Pictures and pages: what a person looks at."""

from cvdecode.report.overlay import flow_image, overlay_image
from cvdecode.report.page import write_page

__all__ = ["flow_image", "overlay_image", "write_page"]
