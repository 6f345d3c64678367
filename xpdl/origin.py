"""The origin of xpdl: the place of each of its functions in xpdl, and its errors.

The origin is T. V. Ganesh's series "Deep Learning from first principles in Python, R and Octave" (2018).  Its code is
at github.com/tvganesh/DeepLearningFromFirstPrinciples.  The eight parts are eight files, and later files repeat
functions of earlier ones: DLfunctions1.py, DLfunctions.py (Part 2), DLfunctions34.py, 41, 51, 61, 7 and 8.  Parts 3 and
5 also have load_mnist.py.  In the origin, samples are columns, weights are W (n_out, n_in), and the parameters are a
dictionary.  In xpdl, samples are rows, weights are w (n_in, n_out), and the parameters are one vector theta.


Every function of the eight parts
---------------------------------

    function                                    parts            place
    ------------------------------------------  ---------------  -------------------------------------------------------
    sigmoid                                     1 2 3 5 6 7 8    xpdl.activations.sigmoid; as output xpdl.losses.binary
    relu                                        3 4 5 6 7 8      xpdl.activations.relu
    tanh                                        3 5 6 7 8        xpdl.activations.tanh
    reluDerivative                              3 4 5 6 7 8      xpdl.activations.relu, its backward
    sigmoidDerivative                           3 5 6 7 8        xpdl.activations.sigmoid, its backward
    tanhDerivative                              3 5 6 7 8        xpdl.activations.tanh, its backward
    softmax                                     4 5 6 7 8        xpdl.losses.softmax
    stableSoftmax                               5 6 7 8          xpdl.losses.softmax, which is always the stable one
    softmaxDerivative                           4 5 6 7 8        xpdl.losses.Loss.delta: p - y for these losses
    stableSoftmaxDerivative                     5 6 7 8          xpdl.losses.Loss.delta

    getModelShape                               2                xpdl.Network.shapes
    initialize                                  1                xpdl.Network.initialize with init=0.0
    initializeModel                             2 3 4 5 6 7 8    xpdl.Network.initialize with init=0.01
    initializeDeepModel                         3 5 6 7 8        xpdl.Network.initialize with init=0.01
    HeInitializeDeepModel                       6 7 8            xpdl.Network.initialize with init="he"
    XavInitializeDeepModel                      6 7 8            xpdl.Network.initialize with init="lecun", which it is
    dictionary_to_vector                        8                xpdl.Network.pack
    gradients_to_vector                         8                xpdl.Network.pack; gradients are such a vector anyway
    vector_to_dictionary                        8                xpdl.Network.unpack
    vector_to_dictionary2                       8                xpdl.Network.unpack

    forwardPropagation                          1 2              xpdl.Network.forward
    layerActivationForward                      3 4 5 6 7 8      xpdl.Network.forward
    forwardPropagationDeep                      3 5 6 7 8        xpdl.Network.forward, masks from xpdl.dropout_masks
    computeLoss                                 1                xpdl.Network.loss
    computeCost                                 2 3 5 6 7 8      xpdl.Network.loss
    computeCostWithReg                          6 7 8            xpdl.Network.loss of a network with l2
    backPropagation                             2                xpdl.Network.backward
    layerActivationBackward                     3 4 5 6 7 8      xpdl.Network.backward
    layerActivationBackwardWithReg              6 7 8            xpdl.Network.backward of a network with l2
    backwardPropagationDeep                     3 5 6 7 8        xpdl.Network.loss_and_grad
    predict                                     1 2 3 5 6 7 8    xpdl.Network.predict
    predict_proba                               3 5 6 7 8        xpdl.Network.predict_proba

    gradientDescent                             1 2 3 5 6 7 8    xpdl.sgd
    initializeVelocity                          7 8              xpdl.momentum, its init
    initializeRMSProp                           7 8              xpdl.rmsprop, its init
    initializeAdam                              7 8              xpdl.adam, its init
    gradientDescentWithMomentum                 7 8              xpdl.momentum with average=True
    gradientDescentWithRMSProp                  7 8              xpdl.rmsprop with eps=0, eps_root=1e-8
    gradientDescentWithAdam                     7 8              xpdl.adam with eps=0, eps_root=1e-8
    computeNN                                   2                xpdl.train with batch_size=None
    L_Layer_DeepModel                           3 5 6 7 8        xpdl.train with batch_size=None
    L_Layer_DeepModel_SGD                       5 6 7 8          xpdl.train
    random_mini_batches                         5 6 7 8          xpdl.train, by xpdl.randomness.permutation

    gradient_check_n                            8                xpdl.check_network

    read                                        3 5              xpdl.data.load of "mnist" or of a folder of IDX files
    load_dataset                                6 7 8            xpdl.data.load of "circles"
    show                                        3 5              xpdl.plots.worst_images, which shows several
    plot_decision_boundary                      2 3 4 5 6 7 8    xpdl.plots.decision_boundary
    plot_decision_boundary_n                    2                xpdl.plots.decision_boundary
    plot_decision_boundary1                     6 7 8            xpdl.plots.decision_boundary
    plot_decision_surface                       3 5              none: a boundary in space can hardly be seen
    plotSurface                                 3 5              none
    normalize                                   1                none: x / np.linalg.norm(x, axis=1, keepdims=True)

The training functions of the origin also draw curves of the cost: here that is ``xpdl.plots.curves``.  In R and Octave
most functions have the same names.  Part 8 has other names for some: ``computeScores`` and ``scores`` are
``predict_proba``; ``list_to_vector`` and ``cellArray_to_vector`` pack, ``vector_to_list`` and ``vector_to_cellArray``
unpack (there are two of each); ``plotDecisionBoundary`` draws, and ``L2NormVec`` is a norm.  Part 5 in R has
``load_mnist`` and ``show_digit``.


Errors of the origin
--------------------

Each error was read in the file of the part that is named.  ``xpdl.check_update`` finds the first two, and says which
entries of theta they concern.  ``xpdl.check_network`` says that a gradient lacks the dropout mask, that it is
transposed, or that it lacks the mean over the samples.

**Adam on the last layer** (Parts 7 and 8, ``gradientDescentWithAdam``).  The block for layer L is inside the loop over
the other layers, so layer L is updated L - 1 times in a step: once for two layers, which is right, twice for three
layers, and never for one.

**Momentum on the last layer** (Parts 7 and 8, ``gradientDescentWithMomentum``).  The velocity of layer L is computed,
but the step is taken along the gradient.

**Dropout with L2** (Parts 6 to 8, ``backwardPropagationDeep``).  Only the branch for lambd == 0 applies the masks.
With L2 the forward pass drops units and the backward pass does not, so the result is not the gradient of any cost.

**Learning-rate decay** (Parts 7 and 8, ``L_Layer_DeepModel_SGD``).  After each epoch the rate is multiplied by
decayRate^(num_epochs / 1000), where num_epochs is the length of the whole run.  So a run of twice the length decays
twice as fast in each epoch.  In xpdl, decay by epochs is ``xpdl.schedules.exponential``, where ``every`` is the number
of steps in an epoch.

**The transposed softmax layer** (Parts 4 to 8, ``softmax``, ``stableSoftmax`` and their derivatives).  They return
(m, k), while all other layers have (k, m), so dW and db of layer L are transposed.  Every optimizer transposes them
back, and the caller of ``gradient_check_n`` must do so too: ``gradients_to_vector`` flattens a transposed dW without an
error.

**A bias without the mean** (Part 4, ``layerActivationBackward``).  For softmax, db is the sum over the samples, not the
mean.  Part 8 tells how this error was found; Parts 5 to 8 have it right.

**A gradient check that fails at kinks** (Part 8, ``gradient_check_n``).  At the kink of a ReLU, the central difference
is the mean of two derivatives, and equal to neither.  With biases of 0, a sample that no unit of a layer sees is at the
kink in all layers after it.  So the check accuses 44 of 240 correct networks.  With a step of 1e-7, rounding alone
makes a difference of 1e-6.  The bound of 1e-5 (in Octave 1e-4) is for the vector as a whole, where small parameters do
not count.  The check takes hidden layers as ReLU and lambd as 0, whatever the network has.  ``vector_to_list2`` in R
shows the numbers in the wrong places.  In xpdl every entry has an error bar, and at a kink both derivatives are right.

**Saturated costs** (all parts but 4, ``computeLoss``, ``computeCost``).  If a probability was rounded to 1, log(1 - A)
is infinite, and 0 times that is NaN.  In xpdl costs are functions of the logits.

**The mean over features** (Part 1, ``forwardPropagation``).  X is (features, samples).  Cost and gradient are divided
by len(X), which is the number of features.  ``predict`` of Part 1 leaves out the bias.

**Hidden layers** (Parts 5 to 8, ``L_Layer_DeepModel``, ``L_Layer_DeepModel_SGD``, and ``predict`` of Parts 3 and 5 to
8).  hiddenActivationFunc is not passed on: "relu" is used, whatever the argument is.

**Code that cannot run, or has no effect.**  In Parts 6 to 8, ``predict_proba`` takes two of the three values that
``forwardPropagationDeep`` returns; so does ``L_Layer_DeepModel_SGD`` of Part 6.  For softmax, ``predict_proba`` looks
for the largest value along the samples.  ``L_Layer_DeepModel_SGD`` of Parts 7 and 8 does not return the parameters it
has learned.  In Part 8, ``computeCost`` is called with an argument that it no longer has, so nothing trains without L2;
and ``forwardPropagationDeep`` divides by a keep_prob that is 0 unless it is given.  ``initializeDeepModel`` of Parts 7
and 8 writes W1.csv, b1.csv, ... into the current folder.

**State that is lost in R** (Part 8).  ``gradientDescentWithMomentum``, ``...RMSProp`` and ``...Adam`` return the
parameters but not the moments, so the moments are 0 before every step.  For a sigmoid output, ``...RMSProp`` moves the
last layer along the gradient of the layer before it.  In ``random_mini_batches`` the samples that are left over replace
the last whole batch.
"""
