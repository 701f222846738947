// Package web is the HTTP door of a filer: files and directories by their paths, for curl, browsers and
// programs, with listings in HTML and JSON.
//
// # Who may use it
//
// Anybody who can reach it: unless Options.Auth says so, this door does not ask who you are, and acts as uid 0. What it makes belongs to the
// Owner of the file system's options. So it is meant for the
// loopback interface, where the filer listens by default, or to stand behind a proxy that asks. With Auth, a request carries
// an access key of a user with its secret (auth.go), does what permissions give to that user, and makes what belongs to it; the root user is uid 0. Policies of S3
// mean nothing here. A browser that a foreign page has sent cannot change anything: a request whose Origin is not the host
// that it addresses is refused. Uploaded pages are served in a sandbox, and cannot script the listings.
//
// # Requests
//
// A path is percent-decoded once, and then cleaned: empty and "." components go, ".." never leads above
// the root. Everything under "/-/" belongs to the door itself.
//
//	PUT    /path              stores the body as a file; 201, or 200 when a file was replaced
//	PUT    /path/             makes a directory; the body is empty
//	POST   /path              as PUT; a form (multipart/form-data) with one file stores that
//	POST   /dir/              a form with files stores each in the directory under its own name
//	PUT    /path?append       adds the body to the end of a file, or makes it; also POST
//	PUT    /path?offset=N     writes the body into a file that is there; also POST
//	PUT    /path?extract      makes a directory of a tar, or of one in gzip; ?replace of what is there; also POST
//	POST   /path?mkdir        makes a directory, or with a form field "name" one in it; also MKCOL
//	POST   /path?mv=/new      renames; also ?rename=, a header X-Granary-Rename-To, or MOVE with Destination
//	POST   /path?cp=/new      copies a file by reference, with ?recursive a directory; ?replace one that is there
//	                          Overwrite: F has either fail if there is something at /new
//	GET    /path              a file, or ranges of it; ?download has browsers save it
//	GET    /path?stat         attributes as JSON, of a symbolic link itself but for ?follow
//	GET    /dir?list          a listing as JSON; ?recursive of all below, ?prefix= of what begins with it, ?limit= and ?after= as below
//	GET    /dir?tar           the directory with all that is in it; also ?tar.gz, ?zip
//	GET    /dir/              a listing: HTML, or JSON with Accept: application/json or ?format=json;
//	                          ?limit= entries after the cursor ?after=, as "next" gives it
//	HEAD                      as GET, without the body
//	DELETE /path              removes a file, a link, or an empty directory; ?recursive=true a full one
//	GET    /-/health          200 if the cluster answers within 2 s, else 503 and the reason
//	GET    /-/metrics         for Prometheus
//	GET    /-/version         JSON
//	POST   /-/tus/            begins a resumable upload (tus 1.0.0); HEAD, PATCH and DELETE at its Location
//	/-/dav/…                  WebDAV, with locks; PROPFIND to a Depth of 1
//	POST   /-/v1/locks        takes a lock on paths; GET lists them, /-/v1/openapi.json describes what else there is
//	GET    /-/v1/watch?path=  the changes below a path, as they come: server-sent events (watch.go)
//
// If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and If-Range work as RFC 9110 says, on
// changes too, where they hold at the very moment of the change. A symbolic link is followed by GET and
// HEAD, and is itself replaced, renamed or removed by everything else.
//
// A body is checked against Content-MD5, Digest (RFC 3230), Content-Digest and Repr-Digest (RFC 9530), as far as they come with it: sha-256,
// sha-512, md5, sha, crc32c. A file gets the permission bits of Granary-Mode (octal), the time of Granary-Mtime (RFC 3339, or seconds since
// 1970), X-OC-Mtime or Last-Modified, and the attributes of Granary-Xattr-user.NAME (percent-encoded); with GET and HEAD they come back.
//
// A change with the header Granary-Fence, the tokens of path locks with commas between them, is refused (412) unless all of them are
// held when it takes effect. What a mandatory lock of another forbids is 423.
//
// An error is {"error":{"kind","message"}}, or a page where the client accepts text/html. Its kind is
// that of granary.Kind, its status that of filer.HTTPStatus.
//
// # Invariants
//
//  1. A file is published whole or not at all: only after its body has come to its announced end, and
//     in one step. So is what is made of an archive, and what a body adds to a file or changes of it; but of more than
//     granary.CopyRangeMax bytes at an offset that many at a time.
//  2. An answer of success to a change is sent after the change is durable.
//  3. A body that could not be read to its end never looks whole: the connection is cut.
//  4. No bytes that a user stored run as a page of the listings' origin: they are sent with
//     Content-Security-Policy "sandbox" and nosniff, and names are escaped for where they stand.
//  5. A request from a page of another origin changes nothing, unless Options.Origins has it.
//  6. The ETag of a file stored here is the MD5 of its bytes, as S3 has it, and Content-Type is kept
//     where S3 keeps it: both doors show the same.
//  7. The offset of a resumable upload that was told is durable, and told at its end only when the file is published. What
//     nothing comes to for Options.UploadTTL is removed.
package web
