"""Pictures of runs, models and gradient checks, drawn with matplotlib.

history     curves: the cost, the accuracy or another number of each epoch, for one run or several
boundary    decision_boundary: the regions in which a classifier predicts each class
confusion   confusion_matrix: how often each label is predicted for each true label
images      worst_images: the samples with the highest cost; weight_images: the weights of the first layer
gradients   gradient_map, gradient_maps, gradient_scatter: the errors that a gradient check has found
slopes      gradient_slope: the error of a linear model against the step

Each function draws into the Axes ``ax``, or into a new figure, and returns the Axes for your own changes.  No picture
depends on colour alone: markers and line styles tell the same, and the colours are those of Okabe and Ito or scales
that are as safe for colour-blind readers.  matplotlib is needed: pip install "xpdl[plot]".
"""

from xpdl.plots.boundary import decision_boundary
from xpdl.plots.confusion import confusion_matrix
from xpdl.plots.gradients import gradient_map, gradient_maps, gradient_scatter
from xpdl.plots.history import curves
from xpdl.plots.images import weight_images, worst_images
from xpdl.plots.slopes import gradient_slope

__all__ = [
    "confusion_matrix",
    "curves",
    "decision_boundary",
    "gradient_map",
    "gradient_maps",
    "gradient_scatter",
    "gradient_slope",
    "weight_images",
    "worst_images",
]
