package inflate

// IncompletePrecode is where the decoder is stricter than compress/flate.
const IncompletePrecode = whatIncompletePrecode
