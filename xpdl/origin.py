"""Where each function of the origin has its place here, and where the origin erred.

The origin is T. V. Ganesh's series "Deep Learning from first principles in Python, R and Octave" (2018), whose code
is github.com/tvganesh/DeepLearningFromFirstPrinciples.  Its eight parts are eight files, later ones with copies of
what stands in earlier ones: DLfunctions1.py, DLfunctions.py (Part 2), DLfunctions34.py, 41, 51, 61, 7 and 8; Parts 3
and 5 have load_mnist.py beside it.  There samples are columns, weights are W (n_out, n_in), and parameters are a
dictionary; here samples are rows, weights are w (n_in, n_out), and parameters are one vector theta.


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

The curves of cost that the training functions draw are ``xpdl.plots.curves``.  In R and Octave most are called the
same.  Other names of Part 8 are ``computeScores`` and ``scores`` for ``predict_proba``, ``list_to_vector`` and
``cellArray_to_vector``, ``vector_to_list`` and ``vector_to_cellArray`` (and a second of each) for what packs and
unpacks, ``plotDecisionBoundary``, and ``L2NormVec`` for a norm; R's Part 5 has ``load_mnist`` and ``show_digit``.


Where the origin erred
----------------------

Each of these was read in the file of the part that is named.  ``xpdl.check_update`` finds the first two and says
which entries of theta they concern; ``xpdl.check_network`` says of a gradient that it lacks the dropout mask, is
transposed or lacks the mean over samples.

**Adam on the last layer** (Parts 7 and 8, ``gradientDescentWithAdam``).  The block for layer L stands inside the loop
over the others, so it is updated L - 1 times in a step: right for two layers, twice for three, never for one.

**Momentum on the last layer** (Parts 7 and 8, ``gradientDescentWithMomentum``).  The velocity of layer L is computed,
and the step is taken along the gradient all the same.

**Dropout with L2** (Parts 6 to 8, ``backwardPropagationDeep``).  The masks are applied in the branch for lambd == 0
only; with L2 the forward pass drops units and the backward pass does not, and the gradient is that of no cost.

**Learning-rate decay** (Parts 7 and 8, ``L_Layer_DeepModel_SGD``).  After each epoch the rate is multiplied by
decayRate^(num_epochs / 1000), where num_epochs is how many there will be: a run that is to be twice as long decays
twice as fast in each epoch.  Here decay by epochs is ``xpdl.schedules.exponential`` with ``every``, the steps of an
epoch.

**The transposed softmax layer** (Parts 4 to 8, ``softmax``, ``stableSoftmax`` and their derivatives).  They return
(m, k) where all other layers have (k, m), so dW and db of layer L are transposed, which every optimizer undoes and
whoever calls ``gradient_check_n`` must undo: ``gradients_to_vector`` flattens a transposed dW without a word.

**A bias without the mean** (Part 4, ``layerActivationBackward``).  For softmax, db is the sum over the samples, not
their mean.  It is the error that Part 8 tells the discovery of; Parts 5 to 8 have it right.

**A gradient check that fails at kinks** (Part 8, ``gradient_check_n``).  At a ReLU's kink the central difference is
the mean of two derivatives and neither of them, and with biases of 0 a sample that no unit of a layer sees is at the
kinks of all layers behind it: of 240 correct networks it accuses 44.  With a step of 1e-7 rounding alone makes a
difference of 1e-6, and the bound of 1e-5 (in Octave 1e-4) is for the vector as a whole, in which small parameters do
not count.  Hidden layers are taken as ReLU and lambd as 0 whatever the network is.  R's ``vector_to_list2`` shows the
numbers in other places than they have.  Here every entry has an error bar, and at a kink both derivatives are right.

**Saturated costs** (all parts but 4, ``computeLoss``, ``computeCost``).  log(1 - A) of a probability that was rounded
to 1 is infinite, times 0 NaN.  Here costs are functions of the logits.

**The mean over features** (Part 1, ``forwardPropagation``).  X is (features, samples), and len(X), by which cost and
gradient are divided, counts features.  ``predict`` of Part 1 leaves out the bias.

**Hidden layers** (Parts 5 to 8, ``L_Layer_DeepModel``, ``L_Layer_DeepModel_SGD``, and ``predict`` of Parts 3 and 5 to
8).  hiddenActivationFunc is not passed on: whatever it says, "relu" is used.

**What cannot run, or runs for nothing.**  In Parts 6 to 8 ``predict_proba`` takes two of the three things that
``forwardPropagationDeep`` returns, and so does ``L_Layer_DeepModel_SGD`` of Part 6.  For softmax ``predict_proba``
looks for the largest along the samples.  ``L_Layer_DeepModel_SGD`` of Parts 7 and 8 does not return what it has
learned.  In Part 8 ``computeCost`` is called with an argument it no longer has, so nothing trains without L2, and
``forwardPropagationDeep`` divides by a keep_prob that is 0 unless it is given.  ``initializeDeepModel`` of Parts 7
and 8 writes W1.csv, b1.csv, ... where it is called.

**R forgets** (Part 8).  ``gradientDescentWithMomentum``, ``...RMSProp`` and ``...Adam`` return the parameters and not
the moments, which so are 0 before every step.  For a sigmoid output ``...RMSProp`` moves the last layer along the
gradient of the one before.  The samples that are left over in ``random_mini_batches`` take the place of the last
whole batch.
"""
