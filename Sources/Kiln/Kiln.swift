// Everything an app needs, by one name.

@_exported import KilnCheckpoints
@_exported import KilnData
@_exported import KilnGraph
@_exported import KilnKernels
@_exported import KilnLayers
@_exported import KilnOptimizers
@_exported import KilnTraining
