// Package backup is the format of a backup of a cluster's metadata, and how one is fetched from a master into
// a file or a stream.
//
// A master keeps a backup while it is being read and gives pieces of it at any offset (granary.ReadBackup), so a
// transfer that broke goes on where it ended. What it gives, the stream, is a snapshot of the state as masters send it to
// each other: package master knows what is in it. Here it is bytes.
//
// # Format
//
// A backup is one file or one object; numbers are little endian:
//
//	offset  size  field
//	0       8     magic "GRANBKUP"
//	8       4     format version, now 1
//	12      4     H: length of the header, this checksum's field included
//	16      8     index of the last entry of the Raft log that the state holds
//	24      8     S: length of the stream
//	32      8     when the backup was begun, in nanoseconds since 1970, by the clock of who fetched it
//	40      1     length of the cluster's id …
//	41      a       … and the id, as text
//	41+a    1     length of the backup's id …
//	42+a    b       … and the id, as text
//	H-4     4     CRC32C of the header before it
//	H       S     the stream
//	H+S     32    BLAKE3-256 of everything before it
//
// The whole has H+S+32 bytes; more or less is damage. A reader takes nothing of a backup for good before it has
// compared the hash at its end.
//
// # Files
//
// A backup is written to FILE.part, which is locked while somebody writes it, synced, renamed to FILE, and the
// directory synced: FILE is whole or not there. FILE.part is also synced before each multiple of 64 MiB is
// passed. So after a crash of the machine all that lies before the last such multiple is as it was written: the next attempt
// keeps that much, and fetches the rest if a master still has that very backup.
package backup
