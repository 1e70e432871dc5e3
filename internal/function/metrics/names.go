package metrics

// The metrics; docs/logs.md says what each of them counts.
const (
	ImagesMatched    = "ImagesMatched"
	ImagesIndexed    = "ImagesIndexed"
	ImagesHandedOver = "ImagesHandedOver"
	ImagesSkipped    = "ImagesSkipped" // also by Reason
	ImagesFailed     = "ImagesFailed"  // also by Class

	LayersBuilt       = "LayersBuilt"
	LayersReused      = "LayersReused"
	LayersSkipped     = "LayersSkipped"
	LayersSkippedZstd = "LayersSkippedZstd"

	BytesRead   = "BytesRead"
	Duration    = "Duration"
	PushToIndex = "PushToIndex"
	PeakMemory  = "PeakMemory"
)

// The dimensions that some have besides Stack.
const (
	Reason = "Reason"
	Class  = "Class"
)
