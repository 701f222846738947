package s3

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// xmlNamespace is that of every document but errors.
const xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// timeFormat is how S3 writes times: ISO 8601, UTC, with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// isoTime writes a time as XML documents have it.
func isoTime(t granary.Time) string { return t.Std().UTC().Format(timeFormat) }

// owner is who owns everything: there are no accounts but the cluster.
type owner struct {
	ID          string
	DisplayName string
}

func clusterOwner() owner { return owner{ID: ownerID, DisplayName: "granary"} }

// ownerID is the canonical user id of the cluster; SDKs expect 64 hexadecimal digits.
const ownerID = "6772616e61727900000000000000000000000000000000000000000000000000"

type (
	listAllMyBuckets struct {
		XMLName xml.Name `xml:"ListAllMyBucketsResult"`
		Xmlns   string   `xml:"xmlns,attr"`
		Owner   owner
		Buckets []bucketItem `xml:"Buckets>Bucket"`
		Prefix  string       `xml:",omitempty"`

		ContinuationToken string `xml:",omitempty"`
	}
	bucketItem struct {
		Name         string
		CreationDate string
		BucketRegion string
	}
	locationConstraint struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		Xmlns   string   `xml:"xmlns,attr"`
		Region  string   `xml:",chardata"`
	}
)

type (
	listBucketResult struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Xmlns                 string   `xml:"xmlns,attr"`
		Name                  string
		Prefix                string
		Marker                *string
		NextMarker            string `xml:",omitempty"`
		StartAfter            string `xml:",omitempty"`
		ContinuationToken     string `xml:",omitempty"`
		NextContinuationToken string `xml:",omitempty"`
		KeyCount              *int   `xml:",omitempty"`
		MaxKeys               int
		Delimiter             string `xml:",omitempty"`
		EncodingType          string `xml:",omitempty"`
		IsTruncated           bool
		Contents              []objectItem
		CommonPrefixes        []commonPrefix
	}
	objectItem struct {
		Key          string
		LastModified string
		ETag         string
		Size         uint64
		Owner        *owner `xml:",omitempty"`
		StorageClass string
		listedChecksum
	}
	// listedChecksum tells of which kind the checksum of an object is.
	listedChecksum struct {
		ChecksumAlgorithm []string
		ChecksumType      string `xml:",omitempty"`
	}
	commonPrefix struct{ Prefix string }

	listVersionsResult struct {
		XMLName             xml.Name `xml:"ListVersionsResult"`
		Xmlns               string   `xml:"xmlns,attr"`
		Name                string
		Prefix              string
		KeyMarker           string
		VersionIDMarker     string `xml:"VersionIdMarker"`
		NextKeyMarker       string `xml:",omitempty"`
		NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
		MaxKeys             int
		Delimiter           string `xml:",omitempty"`
		EncodingType        string `xml:",omitempty"`
		IsTruncated         bool
		Versions            []versionItem
		CommonPrefixes      []commonPrefix
	}
	versionItem struct {
		XMLName      xml.Name // Version or DeleteMarker
		Key          string
		VersionID    string `xml:"VersionId"`
		IsLatest     bool
		LastModified string
		ETag         string  `xml:",omitempty"`
		Size         *uint64 `xml:",omitempty"`
		Owner        owner
		StorageClass string `xml:",omitempty"`
		listedChecksum
	}
)

type (
	copyResult struct {
		XMLName      xml.Name
		Xmlns        string `xml:"xmlns,attr"`
		LastModified string
		ETag         string
		checksumElements
	}
	// checksumElements are the checksums of an object or part as documents have them.
	checksumElements struct {
		ChecksumCRC32     string `xml:",omitempty"`
		ChecksumCRC32C    string `xml:",omitempty"`
		ChecksumCRC64NVME string `xml:",omitempty"`
		ChecksumSHA1      string `xml:",omitempty"`
		ChecksumSHA256    string `xml:",omitempty"`
		ChecksumSHA512    string `xml:",omitempty"`
		ChecksumMD5       string `xml:",omitempty"`
		ChecksumXXHASH64  string `xml:",omitempty"`
		ChecksumXXHASH3   string `xml:",omitempty"`
		ChecksumXXHASH128 string `xml:",omitempty"`
		ChecksumType      string `xml:",omitempty"`
	}

	deleteRequest struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Objects []deleteItem `xml:"Object"`
	}
	deleteItem struct {
		Key       string
		VersionID string `xml:"VersionId"`
		ETag      string
	}
	deleteResult struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Xmlns   string   `xml:"xmlns,attr"`
		Deleted []deletedItem
		Errors  []deleteError `xml:"Error"`
	}
	deletedItem struct {
		Key             string
		VersionID       string `xml:"VersionId,omitempty"`
		DeleteMarker    bool   `xml:",omitempty"`
		MarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
	}
	deleteError struct {
		Key       string
		VersionID string `xml:"VersionId,omitempty"`
		Code      code
		Message   string
	}
)

type (
	initiateResult struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Xmlns    string   `xml:"xmlns,attr"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}
	completeRequest struct {
		XMLName xml.Name       `xml:"CompleteMultipartUpload"`
		Parts   []completePart `xml:"Part"`
	}
	completePart struct {
		PartNumber *int
		ETag       string
		checksumElements
	}
	completeResult struct {
		XMLName  xml.Name `xml:"CompleteMultipartUploadResult"`
		Xmlns    string   `xml:"xmlns,attr"`
		Location string
		Bucket   string
		Key      string
		ETag     string
		checksumElements
	}
	listPartsResult struct {
		XMLName              xml.Name `xml:"ListPartsResult"`
		Xmlns                string   `xml:"xmlns,attr"`
		Bucket               string
		Key                  string
		UploadID             string `xml:"UploadId"`
		Initiator            owner
		Owner                owner
		StorageClass         string
		PartNumberMarker     int
		NextPartNumberMarker int
		MaxParts             int
		IsTruncated          bool
		EncodingType         string     `xml:",omitempty"`
		ChecksumAlgorithm    string     `xml:",omitempty"`
		ChecksumType         string     `xml:",omitempty"`
		Parts                []partItem `xml:"Part"`
	}
	partItem struct {
		PartNumber   int
		LastModified string
		ETag         string
		Size         uint64
		checksumElements
	}
	listUploadsResult struct {
		XMLName            xml.Name `xml:"ListMultipartUploadsResult"`
		Xmlns              string   `xml:"xmlns,attr"`
		Bucket             string
		KeyMarker          string
		UploadIDMarker     string `xml:"UploadIdMarker"`
		NextKeyMarker      string
		NextUploadIDMarker string `xml:"NextUploadIdMarker"`
		Delimiter          string `xml:",omitempty"`
		Prefix             string
		EncodingType       string `xml:",omitempty"`
		MaxUploads         int
		IsTruncated        bool
		Uploads            []uploadItem `xml:"Upload"`
		CommonPrefixes     []commonPrefix
	}
	uploadItem struct {
		Key          string
		UploadID     string `xml:"UploadId"`
		Initiator    owner
		Owner        owner
		StorageClass string
		Initiated    string

		ChecksumAlgorithm string `xml:",omitempty"`
		ChecksumType      string `xml:",omitempty"`
	}
)

// writeXML answers with a document.
func writeXML(w http.ResponseWriter, status int, document any) error {
	body, err := xml.Marshal(document)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "s3.xml", "", "%w", err)
	}
	return writeDocument(w, status, body)
}

// writeDocument answers with a document that is encoded.
func writeDocument(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(xml.Header)+len(body)))
	w.WriteHeader(status)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// readXML decodes a request's document of at most sizeMax bytes. It reads the body to its end, so
// that its signature and digests are verified before anything of it is believed.
func readXML(body io.Reader, sizeMax int64, document any) error {
	b, err := readDocument(body, sizeMax)
	if err != nil {
		return err
	}
	return decodeXML(b, document)
}

// readDocument reads a request's document of at most sizeMax bytes, to the end of the body.
func readDocument(body io.Reader, sizeMax int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, sizeMax+1))
	if err == nil && int64(len(b)) > sizeMax {
		err = refuse(codeMessageTooLong, "Your request was too big.").with("MaxMessageLengthBytes", strconv.FormatInt(sizeMax, 10))
	}
	return b, err
}

func decodeXML(b []byte, document any) error {
	if err := xml.Unmarshal(b, document); err != nil {
		e := malformedXML()
		e.err = err
		return e
	}
	return nil
}

// malformedXML is what a document is refused with that is not what it should be. What exactly is wrong is for the log.
func malformedXML() *apiError {
	return refuse(codeMalformedXML, "The XML you provided was not well-formed or did not validate against our published schema.")
}

// keyEncoder returns how keys are written in a listing: as they are, or percent-encoded with '/'
// kept, under encoding-type=url. XML 1.0 cannot carry every key, so clients usually ask for it.
func keyEncoder(encodingType string) (func(string) string, error) {
	switch {
	case encodingType == "":
		return func(s string) string { return s }, nil
	case strings.EqualFold(encodingType, "url"):
		return func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
		}, nil
	default:
		return nil, refuse(codeInvalidArgument, "Invalid Encoding Method specified in Request: %q.", encodingType)
	}
}

// quoteETag quotes an ETag for a header or document.
func quoteETag(etag string) string { return `"` + etag + `"` }

// unquoteETag takes the quotes, and the W/ of a weak ETag, off.
func unquoteETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}
