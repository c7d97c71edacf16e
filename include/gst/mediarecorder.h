/* The C API of the mediarecorder element: error codes, enumerations, and its actions as functions.
 *
 * A header-only API: only GStreamer has to be linked, and GStreamer loads the plugin like any other.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef __GST_MEDIA_RECORDER_H__
#define __GST_MEDIA_RECORDER_H__

#include <gst/gst.h>

G_BEGIN_DECLS

/**
 * GST_MEDIA_RECORDER_ERROR:
 *
 * Domain of the errors that the actions return, and of on-error and mediarecorder-error.
 *
 * Since: 0.1
 */
#define GST_MEDIA_RECORDER_ERROR (gst_media_recorder_error_quark ())

static inline GQuark
gst_media_recorder_error_quark (void)
{
  return g_quark_from_static_string ("gst-media-recorder-error");
}

/**
 * GstMediaRecorderError:
 * @GST_MEDIA_RECORDER_ERROR_INVALID_STATE: the action is not valid in the current state
 * @GST_MEDIA_RECORDER_ERROR_NOT_SUPPORTED: the requested type or input cannot be recorded here
 * @GST_MEDIA_RECORDER_ERROR_INVALID_MODIFICATION: the tracks were changed while recording
 * @GST_MEDIA_RECORDER_ERROR_SECURITY: reserved for input that may not be recorded; never used
 * @GST_MEDIA_RECORDER_ERROR_UNKNOWN: anything else that failed
 *
 * Codes of #GST_MEDIA_RECORDER_ERROR, after the DOMException names of the W3C draft.
 *
 * Since: 0.1
 */
typedef enum
{
  GST_MEDIA_RECORDER_ERROR_INVALID_STATE = 0,
  GST_MEDIA_RECORDER_ERROR_NOT_SUPPORTED = 1,
  GST_MEDIA_RECORDER_ERROR_INVALID_MODIFICATION = 2,
  GST_MEDIA_RECORDER_ERROR_SECURITY = 3,
  GST_MEDIA_RECORDER_ERROR_UNKNOWN = 4
} GstMediaRecorderError;

/**
 * GstMediaRecorderState:
 * @GST_MEDIA_RECORDER_STATE_INACTIVE: no recording is active
 * @GST_MEDIA_RECORDER_STATE_RECORDING: input is recorded
 * @GST_MEDIA_RECORDER_STATE_PAUSED: recording is suspended, input is dropped
 *
 * Values of the property state.
 *
 * Since: 0.1
 */
typedef enum
{
  GST_MEDIA_RECORDER_STATE_INACTIVE = 0,
  GST_MEDIA_RECORDER_STATE_RECORDING = 1,
  GST_MEDIA_RECORDER_STATE_PAUSED = 2
} GstMediaRecorderState;

/**
 * GstMediaRecorderBitrateMode:
 * @GST_MEDIA_RECORDER_BITRATE_MODE_CONSTANT: a constant rate
 * @GST_MEDIA_RECORDER_BITRATE_MODE_VARIABLE: the rate depends on the content
 *
 * Values of the property audio-bitrate-mode.
 *
 * Since: 0.1
 */
typedef enum
{
  GST_MEDIA_RECORDER_BITRATE_MODE_CONSTANT = 0,
  GST_MEDIA_RECORDER_BITRATE_MODE_VARIABLE = 1
} GstMediaRecorderBitrateMode;

/**
 * GstMediaRecorderKeep:
 * @GST_MEDIA_RECORDER_KEEP_DEPTH: bits per component
 * @GST_MEDIA_RECORDER_KEEP_CHROMA: chroma subsampling
 * @GST_MEDIA_RECORDER_KEEP_ALPHA: transparency
 * @GST_MEDIA_RECORDER_KEEP_PIXEL_ASPECT: the pixel aspect ratio
 *
 * Flags of the property keep.
 *
 * Since: 0.1
 */
typedef enum
{
  GST_MEDIA_RECORDER_KEEP_DEPTH = 1 << 0,
  GST_MEDIA_RECORDER_KEEP_CHROMA = 1 << 1,
  GST_MEDIA_RECORDER_KEEP_ALPHA = 1 << 2,
  GST_MEDIA_RECORDER_KEEP_PIXEL_ASPECT = 1 << 3
} GstMediaRecorderKeep;

static inline gboolean
gst_media_recorder_act (GstElement * recorder, const gchar * action,
    GError ** error)
{
  GError *refused = NULL;

  g_signal_emit_by_name (recorder, action, &refused);
  if (refused == NULL)
    return TRUE;
  g_propagate_error (error, refused);
  return FALSE;
}

/**
 * gst_media_recorder_start:
 * @recorder: a mediarecorder
 * @error: (out) (optional): the error, in the domain #GST_MEDIA_RECORDER_ERROR
 *
 * Starts a recording. Like the other four, it returns immediately and may be called from any thread.
 *
 * Returns: %TRUE on success
 *
 * Since: 0.1
 */
static inline gboolean
gst_media_recorder_start (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "start", error);
}

static inline gboolean
gst_media_recorder_pause (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "pause", error);
}

static inline gboolean
gst_media_recorder_resume (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "resume", error);
}

static inline gboolean
gst_media_recorder_stop (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "stop", error);
}

static inline gboolean
gst_media_recorder_request_data (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "request-data", error);
}

static inline gboolean
gst_media_recorder_split_now (GstElement * recorder, GError ** error)
{
  return gst_media_recorder_act (recorder, "split-now", error);
}

/**
 * gst_media_recorder_mark:
 * @recorder: a mediarecorder
 * @title: (nullable): the chapter's title; %NULL is ""
 * @error: (out) (optional): the error, in the domain #GST_MEDIA_RECORDER_ERROR
 *
 * Marks this instant of the recording: a chapter starts here. on-mark reports its position.
 *
 * Returns: %TRUE on success
 *
 * Since: 0.1
 */
static inline gboolean
gst_media_recorder_mark (GstElement * recorder, const gchar * title,
    GError ** error)
{
  GError *refused = NULL;

  g_signal_emit_by_name (recorder, "mark", title, &refused);
  if (refused == NULL)
    return TRUE;
  g_propagate_error (error, refused);
  return FALSE;
}

/**
 * gst_media_recorder_is_type_supported:
 * @recorder: a mediarecorder
 * @mime_type: such as video/webm;codecs="vp8,opus"
 *
 * Returns: whether it can be recorded with the installed plugins
 *
 * Since: 0.1
 */
static inline gboolean
gst_media_recorder_is_type_supported (GstElement * recorder,
    const gchar * mime_type)
{
  gboolean supported = FALSE;

  g_signal_emit_by_name (recorder, "is-type-supported", mime_type, &supported);
  return supported;
}

G_END_DECLS

#endif /* __GST_MEDIA_RECORDER_H__ */
